"""The JSON schema for editors accepts every configuration, and finds mistakes in one."""

import copy
import json
import re

import pytest
import yaml

from lightning_landscape.__main__ import main
from lightning_landscape.cli.configurations.catalogue import catalogue
from lightning_landscape.cli.configurations.keys import schema_of_configurations

TYPES = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip


@pytest.fixture(scope="module")
def schema():
    return schema_of_configurations()


def mistakes(value, rule, schema, where=""):
    """Yield where a value breaks a rule; as much of JSON Schema as this schema uses."""
    if "$ref" in rule:
        yield from mistakes(value, schema["$defs"][rule["$ref"].split("/")[-1]], schema, where)
    if "type" in rule and not isinstance(value, TYPES[rule["type"]]):
        yield f"{where}: {value} is no {rule['type']}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{where}: {value} is not known"
    if "const" in rule and value != rule["const"]:
        yield f"{where}: {value} is not {rule['const']}"
    if "pattern" in rule and not (isinstance(value, str) and re.search(rule["pattern"], value)):
        yield f"{where}: {value} has another form"
    if "anyOf" in rule:
        found = [list(mistakes(value, option, schema, where)) for option in rule["anyOf"]]
        yield from [] if any(not each for each in found) else [x for each in found for x in each]
    for each in rule.get("allOf", []):
        yield from mistakes(value, each, schema, where)
    if "if" in rule and not list(mistakes(value, rule["if"], schema, where)):
        yield from mistakes(value, rule["then"], schema, where)
    if isinstance(value, dict):
        known = rule.get("properties", {})
        yield from (f"{where}: lacks {key}" for key in rule.get("required", []) if key not in value)
        for key, inner in value.items():
            if key in known:
                yield from mistakes(inner, known[key], schema, f"{where}.{key}")
            elif rule.get("additionalProperties") is False:
                yield f"{where}: {key} is no argument"
    if isinstance(value, list) and "items" in rule:
        for place, inner in enumerate(value):
            yield from mistakes(inner, rule["items"], schema, f"{where}.{place}")


@pytest.mark.parametrize("each", catalogue(), ids=lambda each: each.name)
def test_every_configuration_is_valid(each, schema):
    assert not list(mistakes(yaml.safe_load(each.path.read_text()), schema, schema))


def test_mistakes_are_found_where_they_are(schema):
    (each,) = (each for each in catalogue() if each.name == "digits/aging")
    right = yaml.safe_load(each.path.read_text())
    for path, value, said in [
        (["model", "energy", "init_args", "los"], "hinge", "los is no argument"),
        (["model", "energy", "class_path"], "NetworkEnergie", "NetworkEnergie is not known"),
        (["model", "energy", "init_args", "data"], {"class_path": "Digit"}, "Digit is not known"),
        (["model", "batches", "batch_size"], "many", "many is no integer"),
        (["trainer", "callbacks", 0, "init_args", "per_decades"], 3, "per_decades is no argument"),
    ]:
        wrong = copy.deepcopy(right)
        at = wrong
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        found = list(mistakes(wrong, schema, schema))
        assert found, path
        assert any(said in line for line in found), found


def test_arguments_are_described(schema, capsys):
    chosen = schema["$defs"]["Energy"]["anyOf"][1]["allOf"]
    (glass,) = (
        each["then"]["properties"]["init_args"]
        for each in chosen
        if each["if"]["properties"]["class_path"]["const"] == "SphericalPSpin"
    )
    assert {"N", "p", "replicas", "disorder", "seed"} <= set(glass["properties"])
    assert glass["properties"]["disorder"]["enum"] == ["shared", "independent"]
    assert "number" in glass["properties"]["N"]["description"]
    assert main(["configs", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema
