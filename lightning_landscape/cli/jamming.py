"""The verb jamming: a study of when networks can no longer fit their data."""

from __future__ import annotations

from lightning_landscape.cli.study import run, study_parser
from lightning_landscape.studies.jamming import Jamming

__all__ = ["main"]


def main(args: list[str]) -> int:
    """Carry out the study, or continue it, in a run folder; print its table."""
    parser = study_parser("jamming", __doc__ or "")
    parser.add_class_arguments(Jamming, "jamming")
    return run(parser, "jamming", args[1:])
