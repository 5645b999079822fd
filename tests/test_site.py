"""The generated pages of the documentation: a gallery that says where it is stale; tutorials."""

import json
import runpy
from pathlib import Path

import pytest
import yaml

from lightning_landscape.cli.configurations.catalogue import catalogue

ROOT = Path(__file__).parents[1]
HOOKS = runpy.run_path(str(ROOT / "docs/site/hooks.py"))
KEPT = sorted((ROOT / "docs/gallery").rglob("run.json"))


def named(name):
    (found,) = (each for each in catalogue() if each.name == name)
    return found


@pytest.mark.parametrize("path", KEPT, ids=lambda p: p.parent.name)
def test_what_is_kept_was_made_by_the_configuration_of_today(path):
    """Change a configuration, and run `python docs/site/gallery.py` with its name."""
    each = named(str(path.parent.relative_to(ROOT / "docs/gallery")))
    facts = json.loads(path.read_text())
    assert facts["checksum"] == HOOKS["checksum"](each.path)
    assert facts["command"] == each.command
    assert facts["results"].startswith("|") and "/version_" not in facts["results"]
    assert list(path.parent.glob("*.png"))


def test_a_changed_configuration_is_said_to_be_changed(tmp_path, monkeypatch):
    path = next(p for p in KEPT if p.parent.name == "saddles")
    each = named("pspin/saddles")
    page = HOOKS["gallery_page"](each)
    assert "has changed since" not in page and "saddles/exploration.png" in page
    changed = yaml.safe_load(each.path.read_text()) | {"quenches": 12345}
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    facts = json.loads(path.read_text())
    facts["checksum"] = HOOKS["checksum"](tmp_path / "changed.yaml")
    assert "has changed since" in "\n".join(HOOKS["_of_run"](facts, each))


def test_the_index_has_every_configuration_once():
    index = HOOKS["gallery_index"](catalogue())
    for each in catalogue():
        assert index.count(f"]({each.name}.md)") == 1, each.name
    assert index.count("*not run here*") == len(catalogue()) - len(KEPT) + 1  # one in the text


def test_every_tutorial_is_in_the_navigation_and_checks_its_numbers():
    navigation = (ROOT / "mkdocs.yml").read_text()
    scripts = sorted((ROOT / "examples/tutorials").glob("*.py"))
    assert len(scripts) == 7
    for script in scripts:
        text = script.read_text()
        assert f"tutorials/{script.stem}.md" in navigation
        cells = HOOKS["cells"](text)
        assert cells[0].is_text and cells[0].text.startswith("# ")
        assert any("assert " in cell.text for cell in cells if not cell.is_text)


def test_a_tutorial_that_was_not_run_is_refused(tmp_path):
    script = tmp_path / "8_new.py"
    script.write_text("# %% [markdown]\n# # New\n# %%\nprint(1)\n")
    with pytest.raises(SystemExit, match=r"8_new\.py has not been run"):
        HOOKS["tutorial_page"](script)


def test_bars_inside_of_cells_are_escaped_in_markdown():
    printed = "| tr S/|∇E|² | 1 |\n|-----|---|\nLeft out:\n- a"
    shown = "| tr S/\\|∇E\\|² | 1 |\n|-----|---|\nLeft out:\n\n- a"
    assert HOOKS["_as_markdown"](printed) == shown
