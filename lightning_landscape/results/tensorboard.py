"""What TensorBoard shows of a run beyond scalars against the step.

TensorBoard has no logarithmic time axis. Each scalar is therefore written twice, against the step
as everywhere, and against 1000 log10 t under a tag of its own. Its charts have one curve each; the
layout of *Custom Scalars* puts all waiting times of a quantity into one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["LOG_TIME", "in_log_time", "layout", "log"]

LOG_TIME = "over 1000 log10 t"
_PER_DECADE = 1000  # steps are integers
_WAITING_TIME = re.compile(r"/tw=([-+.\de]+)$")


def log(
    experiment: Any, scalars: Mapping[str, float], time: float, groups: Mapping[str, Iterable[str]]
) -> None:
    """Write scalars against 1000 log10 t, and the layout before the first of them.

    Args:
        experiment: a writer of TensorBoard; of other loggers nothing happens.
        scalars: values by their tag, ``<probe>/<name>``.
        time: physical time t. Of a tag that ends in ``/tw=10`` it is counted from that time on.
        groups: of each probe of the run, the quantities with several waiting times.
    """
    if not (hasattr(experiment, "add_scalar") and hasattr(experiment, "add_custom_scalars")):
        return
    if not getattr(experiment, "has_landscape_layout", False):
        experiment.has_landscape_layout = True  # TensorBoard reads the first layout of a run only
        if charts := layout(groups):
            experiment.add_custom_scalars(charts)
    for tag, value, step in in_log_time(scalars, time):
        experiment.add_scalar(tag, value, step)


def in_log_time(scalars: Mapping[str, float], time: float) -> Iterator[tuple[str, float, int]]:
    """Yield tag, value and step of each scalar at a time after 0.

    >>> list(in_log_time({"aging/C/tw=10": 0.5, "energy/E": -1.0}, 20.0))
    [('aging over 1000 log10 t/C/tw=10', 0.5, 1000), ('energy over 1000 log10 t/E', -1.0, 1301)]
    """
    for tag, value in scalars.items():
        waited = _WAITING_TIME.search(tag)
        t = time - float(waited[1]) if waited else time
        if t > 0:
            probe, _, name = tag.partition("/")
            yield f"{probe} {LOG_TIME}/{name}", value, round(_PER_DECADE * math.log10(t))


def layout(groups: Mapping[str, Iterable[str]]) -> dict[str, dict[str, list[Any]]]:
    r"""Return the layout of *Custom Scalars*: a chart of all waiting times for each quantity.

    >>> charts = layout({"aging": ["C"], "energy": []})
    >>> print(charts["aging over 1000 log10 t"]["C"][1][0])
    aging\ over\ 1000\ log10\ t/C/tw=
    """
    return {
        f"{probe} {LOG_TIME}": {
            name: ["Multiline", [re.escape(f"{probe} {LOG_TIME}/{name}/tw=")]] for name in names
        }
        for probe, names in groups.items()
        if names
    }
