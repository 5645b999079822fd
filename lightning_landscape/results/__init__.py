"""Tables, figures and exact curves of records.

Each kind of record has one `Result` with its table rows, its panels and its exact curve, in a file
of its own in ``quantities/``; `register` adds a kind from outside the package.
"""

from lightning_landscape.results.registry import Panel, Records, Result, register
from lightning_landscape.results.table import Row, row, spread

__all__ = ["Panel", "Records", "Result", "Row", "register", "row", "spread"]
