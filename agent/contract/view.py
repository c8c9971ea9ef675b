"""What a camera's picture is divided into, and how objects are followed in it, as a policy states it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agent.contract.parts import Part, Unit
from agent.domain.outline import first_crossing, has_area

Point = tuple[Unit, Unit]


class Zone(Part):
    """A part of the picture. What stands in it is decided by the foot of a box: the middle of its lower side.

    An edge belongs to its zone, and so to both of two zones that share it.
    """

    polygon: Annotated[
        tuple[Point, ...],
        Field(
            min_length=3,
            max_length=64,
            description="Corners [x, y], as fractions of the width and height of the frame, in their order "
            "around the zone.",
        ),
    ]
    mode: Annotated[
        Literal["include", "exclude"],
        Field(
            description="`include`: an object that stands in it bears its name in messages and for rules. "
            "`exclude`: an object that stands in it is dropped, whatever other zones it stands in."
        ),
    ] = "include"
    classes: Annotated[
        tuple[str, ...] | None,
        Field(
            min_length=1,
            description="Names of the classes that it holds for; objects of others do not stand in it. "
            "Without: all.",
        ),
    ] = None
    min_confidence: Annotated[
        Unit | None,
        Field(
            description="An object that is less confident does not stand in it, as a fraction; only with "
            "`include`. Without: what is found at all is confident enough."
        ),
    ] = None
    min_side_px: Annotated[
        float | None,
        Field(
            ge=0,
            description="An object with a shorter side of its box does not stand in it, in pixels of the "
            "source; only with `include`. Without: no side is too short.",
        ),
    ] = None

    @model_validator(mode="after")
    def _has_an_area(self) -> Self:
        if not has_area(self.polygon):
            raise ValueError("the corners of this zone lie on one line; an area is wanted")
        if crossing := first_crossing(self.polygon):
            here, there = crossing
            raise ValueError(
                f"this zone's outline crosses itself: the edges from its corners {here + 1} and {there + 1}; "
                "list the corners in their order around the zone"
            )
        return self

    @model_validator(mode="after")
    def _excludes_without_regard(self) -> Self:
        if self.mode == "exclude" and not (self.min_confidence is None and self.min_side_px is None):
            raise ValueError(
                "an exclude zone drops what stands in it, however weak or small; min_confidence and "
                "min_side_px are for include zones"
            )
        return self


class Line(Part):
    """A line that tracked objects cross with the foot of their box: the middle of its lower side."""

    points: Annotated[
        tuple[Point, Point],
        Field(
            description="Its two ends [x, y], as fractions of the width and height of the frame. Who looks "
            "from the first to the second sees `forward` crossings go from the left to the right."
        ),
    ]
    classes: Annotated[
        tuple[str, ...] | None,
        Field(min_length=1, description="Names of the classes whose crossings count. Without: all."),
    ] = None

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        first, second = self.points
        if first == second:
            raise ValueError("this line begins where it ends; two different points are wanted")
        return self


class Tracking(Part):
    """Which object of a frame is which of the frames before, by ByteTrack; only within a class."""

    keep_s: Annotated[
        float,
        Field(
            gt=0,
            le=60,
            description="Seconds that a track is kept without a sighting, and at least to the next frame; "
            "several times the time between two frames.",
        ),
    ] = 2.0
    confirm: Annotated[
        int,
        Field(ge=1, le=100, description="Sightings in a row after which an object has a track number."),
    ] = 2
    high_confidence: Annotated[
        Unit,
        Field(description="Objects at least as confident begin tracks, and are matched first."),
    ] = 0.4
    low_confidence: Annotated[
        Unit,
        Field(
            description="Objects below `high_confidence`, but not below this, only carry on tracks that are "
            "confirmed; what the thresholds drop does not come so far."
        ),
    ] = 0.1
    min_overlap: Annotated[
        Unit,
        Field(description="Overlap (IoU) with the place where the track is expected that makes a match."),
    ] = 0.2
    still_after_s: Annotated[
        float,
        Field(
            gt=0,
            le=3600,
            description="An object that has not left its place for so many seconds does not move: its box "
            "overlaps the one it had then by half at least.",
        ),
    ] = 3.0
    only_confirmed: Annotated[
        bool,
        Field(
            description="true: objects without a track number are left out of messages, and of what rules "
            "see. So `thresholds` may be low: weak objects then serve tracks, and nothing else."
        ),
    ] = False

    @model_validator(mode="after")
    def _levels_are_in_order(self) -> Self:
        if self.low_confidence > self.high_confidence:
            raise ValueError(
                f"low_confidence {self.low_confidence:g} is above high_confidence {self.high_confidence:g}"
            )
        return self
