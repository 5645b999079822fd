"""Exact curves: adds to a record what theory predicts for the same run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lightning_landscape.errors import UsageError
from lightning_landscape.results.registry import kind_of, look_up

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["with_exact"]

logger = logging.getLogger(__name__)


def with_exact(dataset: Dataset) -> Dataset:
    """Return the record with ``<name>_exact`` for each variable that theory knows.

    They come from the `Result` registered for the record's kind. A record of an unknown kind, or of
    a run that theory does not cover, is returned unchanged.
    """
    kind = kind_of(dataset)
    try:
        return look_up(kind).exact(dataset)
    except (UsageError, ArithmeticError) as error:  # the measurement is worth more than the curve
        logger.warning("no exact curve for %s: %s", kind, error)
    except Exception as error:
        logger.warning("no exact curve for %s: %s: %s", kind, type(error).__name__, error)
    return dataset
