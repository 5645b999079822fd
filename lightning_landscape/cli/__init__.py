"""The verbs of the command line."""

__all__ = ["VERBS"]

VERBS = {
    "fit": ("lightning_landscape.cli.fit", "run a configuration, or resume it where it stopped"),
    "validate": ("lightning_landscape.cli.fit", "evaluate a checkpoint on held-out data"),
    "test": ("lightning_landscape.cli.fit", "evaluate a checkpoint on held-out data, as a table"),
    "spectrum": ("lightning_landscape.cli.spectrum", "measure the Hessian of a finished run"),
    "surface": ("lightning_landscape.cli.surface", "draw the loss around and between checkpoints"),
    "sweep": ("lightning_landscape.cli.sweep", "run a configuration at many values of its options"),
    "study": ("lightning_landscape.cli.study", "compute a set of points and seeds, resumably"),
    "explore": ("lightning_landscape.cli.explore", "find minima and transition states, resumably"),
    "criticality": (
        "lightning_landscape.cli.criticality",
        "say whether signals and gradients keep their size",
    ),
    "diagnose": ("lightning_landscape.cli.diagnose", "say where a training stands, and why"),
    "jamming": ("lightning_landscape.cli.jamming", "find when networks no longer fit their data"),
    "compare": (
        "lightning_landscape.cli.report.compare",
        "run configurations, and say in which quantities they agree",
    ),
    "report": ("lightning_landscape.cli.report", "compare runs in one HTML page"),
    "configs": (
        "lightning_landscape.cli.configurations.verb",
        "list configurations by question and run time, or copy one",
    ),
    "completion": (
        "lightning_landscape.cli.configurations.completion",
        "print a script by which bash completes verbs and options",
    ),
}
"""The module of each verb, imported only when it is used, and what it does."""
