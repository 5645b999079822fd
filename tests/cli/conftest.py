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
