"""Precision over recall, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.domain.errors import Code, RefusedError
from agent.workbench.average_precision import RECALLS

if TYPE_CHECKING:
    from pathlib import Path

    from agent.workbench.average_precision import Figures

_NAMED_CLASSES: Final = 10


def need_matplotlib() -> None:
    """Before an hour of work, not after.

    Raises:
        RefusedError: it is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise RefusedError(
            "a plot needs matplotlib: install nanofleet with the extra `eval`", code=Code.MODEL
        ) from error


def draw_precision_recall(figures: Figures, path: Path, *, title: str) -> None:
    """A PNG with one curve a class, the strongest named, at an overlap of 0.5.

    Raises:
        RefusedError: matplotlib is missing, or the file cannot be written.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    # Without pyplot: no window, no state that outlives this call.
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.add_subplot()
    there = sorted((one for one in figures.classes if one.objects), key=lambda one: one.ap50, reverse=True)
    for place, one in enumerate(there):
        named = place < _NAMED_CLASSES
        label = f"{one.name}  {one.ap50:.3f}" if named else None
        axes.plot(RECALLS, one.precision, label=label, linewidth=1.5 if named else 0.6)
    mean = sum(one.precision for one in there) / max(len(there), 1)
    axes.plot(RECALLS, mean, color="black", linewidth=2.5, label=f"mean  {figures.map50:.3f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    axes.grid(alpha=0.3)
    axes.legend(title="AP at overlap 0.5", loc="lower left")
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror}", code=Code.FILE) from error
