"""The verb report: any number of runs on the same axes, in one self-contained HTML page."""

from lightning_landscape.cli.report.document import page
from lightning_landscape.cli.report.runs import find_runs
from lightning_landscape.cli.report.verb import main

__all__ = ["find_runs", "main", "page"]
