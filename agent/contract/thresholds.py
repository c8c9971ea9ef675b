"""Thresholds as a policy states them, for a model and for a source, and how the two become one."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from agent.contract.parts import Part, Unit
from agent.domain.thresholds import Thresholds


class ThresholdPolicy(Part):
    """What counts as found. A field left out falls back: source, then model, then the default."""

    confidence: Annotated[Unit | None, Field(description="Least confidence, 0..1. Default 0.25.")] = None
    iou: Annotated[
        Unit | None,
        Field(description="Overlap above which the weaker box goes, 0..1. Default 0.45."),
    ] = None
    max_objects: Annotated[
        int | None,
        Field(ge=1, le=3000, description="Most objects per frame. Default 300."),
    ] = None
    min_side_px: Annotated[
        float | None,
        Field(ge=0, description="Least side of a box, source pixels. Default 0."),
    ] = None
    classes: Annotated[dict[str, Unit], Field(description="Least confidence by class name.")] = Field(
        default_factory=dict
    )


def in_force(layers: Iterable[ThresholdPolicy]) -> Thresholds:
    """One set of thresholds from `layers`, the weakest first.

    A layer that states a confidence for all classes takes back what weaker layers said of single ones.
    """
    merged: dict[str, Any] = {}
    by_class: dict[str, float] = {}
    for layer in layers:
        given = layer.model_dump(exclude={"classes"}, exclude_none=True)
        merged |= given
        by_class = layer.classes if "confidence" in given else by_class | layer.classes
    return Thresholds(**merged, by_class=by_class)
