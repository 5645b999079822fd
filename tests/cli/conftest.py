import pytest

from lightning_landscape.results import figures


@pytest.fixture(autouse=True)
def coarse_figures(monkeypatch):
    """A run draws all its figures; here with fewer pixels, which nobody looks at."""
    monkeypatch.setattr(figures, "_DPI", 30)


@pytest.fixture
def no_figures(monkeypatch):
    """Runs draw nothing, which takes a third of the time of a short run."""
    monkeypatch.setattr(figures, "draw", lambda dataset: None)


@pytest.fixture
def small_jamming():
    """Return what makes a configuration of `jamming` for small networks."""

    def make(seeds, rounds, steps):
        inputs = {"samples": 400, "dimension": 5, "normalized": True}
        data = {"class_path": "RandomData", "init_args": inputs}
        family = {"depth": 1, "widths": [4], "data": data}
        plan = {"families": [family], "seeds": seeds, "rounds": rounds, "error": 0.001}
        return {
            "experiment": "small",
            "jamming": {
                "plan": {"class_path": "CriticalLoad", "init_args": plan},
                "optimizer": {
                    "class_path": "DecayingAdam",
                    "init_args": {"lr": 0.01, "every": 300},
                },
                "steps": steps,
            },
        }

    return make
