"""Thresholds as a policy states them, for a model and for a source, and how the two become one."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from agent.contract.parts import Part, Unit
from agent.domain.thresholds import Thresholds

_OFF: Final = 1.01
"""A confidence that no candidate reaches."""

ClassConfidence = Unit | Literal["off"]

Beneath = Callable[[str], "ThresholdPolicy | None"]
"""What the package of the model of that name states; None where it states nothing."""


class ThresholdPolicy(Part):
    """What counts as found. What is left out falls back: from the source to its model to the default."""

    confidence: Annotated[
        Unit | None,
        Field(description="Least confidence, as a fraction. In the end 0.25."),
    ] = None
    iou: Annotated[
        Unit | None,
        Field(
            description="Overlap (IoU) above which the weaker of two boxes of a class goes. In the end 0.45."
        ),
    ] = None
    max_objects: Annotated[
        int | None,
        Field(ge=1, le=3000, description="Most objects per frame. In the end 300."),
    ] = None
    min_side_px: Annotated[
        float | None,
        Field(ge=0, description="Least side of a box, in pixels of the source. In the end 0."),
    ] = None
    classes: Annotated[
        dict[str, ClassConfidence],
        Field(
            description="Least confidence by the name of a class, where it differs from `confidence`; "
            "`off`: this class is not reported."
        ),
    ] = Field(default_factory=dict)


def in_force(layers: Iterable[ThresholdPolicy]) -> Thresholds:
    """One set of thresholds from `layers`, the weakest first.

    A layer that states a confidence for all classes takes back what weaker layers said of single ones.
    """
    merged: dict[str, Any] = {}
    by_class: dict[str, float] = {}
    for layer in layers:
        given = layer.model_dump(exclude={"classes"}, exclude_none=True)
        merged |= given
        stated = {name: _OFF if least == "off" else least for name, least in layer.classes.items()}
        by_class = stated if "confidence" in given else by_class | stated
    return Thresholds(**merged, by_class=by_class)


def origins(layers: Iterable[tuple[str, ThresholdPolicy]]) -> dict[str, str]:
    """Where each part of `in_force` comes from: the name of its layer, or `default`.

    Of a class that is named: under ``classes.NAME``.
    """
    found = dict.fromkeys(("confidence", "iou", "max_objects", "min_side_px"), "default")
    for name, layer in layers:
        given = layer.model_dump(exclude={"classes"}, exclude_none=True)
        if "confidence" in given:
            found = {part: where for part, where in found.items() if not part.startswith("classes.")}
        found |= dict.fromkeys(given, name) | {f"classes.{each}": name for each in layer.classes}
    return found
