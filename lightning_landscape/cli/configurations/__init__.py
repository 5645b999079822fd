"""Configuration files: how they are read, and a catalogue of those that come with the package."""

from lightning_landscape.cli.configurations.files import check_files, read

__all__ = ["check_files", "read"]
