"""The verb compare: what has not been run is run, and the verdict is printed."""

import copy

import pytest
import yaml

from lightning_landscape.__main__ import main

CONFIG = {
    "model": {
        "energy": {"class_path": "SphericalPSpin", "init_args": {"N": 16, "replicas": 6}},
        "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.02, "temperature": 0.3}},
    },
    "trainer": {
        "max_steps": 60,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "callbacks": [
            {
                "class_path": "EnergyRelaxation",
                "init_args": {"first": 0.02, "last": 1, "per_decade": 4},
            }
        ],
    },
}


def write(name, temperature):
    config = {"experiment": name, **copy.deepcopy(CONFIG)}
    config["model"]["optimizer"]["init_args"]["temperature"] = temperature
    with open(f"{name}.yaml", "w") as file:
        yaml.safe_dump(config, file)


@pytest.mark.usefixtures("no_figures")
def test_configurations_are_run_once_and_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("cold", 0.3)
    write("hot", 30.0)
    assert main(["compare", "cold.yaml", "hot.yaml", "--output", "page.html"]) == 0
    said = capsys.readouterr().out
    assert "cold | hot" in said and "p adjusted" in said
    verdict = said[said.index("cold | hot") :]
    line = next(line for line in verdict.splitlines() if line.startswith("| E(t = 1"))
    assert "differ" in line
    assert "<svg" in (tmp_path / "page.html").read_text()

    main(["compare", "cold.yaml", "hot.yaml"])  # both have been run
    assert sorted(p.name for p in (tmp_path / "logs").glob("*/*")) == ["version_0"] * 2
    write("hot", 20.0)
    main(["compare", "cold.yaml", "hot.yaml"])  # one of them is another one now
    assert sorted(p.name for p in (tmp_path / "logs" / "hot").iterdir()) == [
        "version_0",
        "version_1",
    ]


def test_a_study_is_refused_before_anything_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("cold", 0.3)
    (tmp_path / "study.yaml").write_text("experiment: x\nstudy: {class_path: HessianFree}")
    assert main(["compare", "cold.yaml", "study.yaml"]) == 2
    assert "configs = study.yaml" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()
