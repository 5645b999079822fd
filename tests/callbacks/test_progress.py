"""How often the progress bar writes."""

import io
import sys

import pytest
from tqdm import tqdm

from lightning_landscape.callbacks.progress import _pace


@pytest.mark.parametrize("total", [3, 1500, 10**6])
def test_in_a_file_the_bar_is_about_ten_lines(total, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    file = io.StringIO()
    with tqdm(total=total, file=file, **_pace(total)) as bar:
        for _ in range(100):
            bar.update(total / 100)
    assert file.getvalue().count("\r") <= 12


def test_on_a_terminal_it_is_smooth(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert _pace(1500) == {"mininterval": 0.2}
