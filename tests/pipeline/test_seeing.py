"""From detections to scenes, as a policy has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agent.contract.policy import Policy
from agent.domain.detections import Detections
from agent.domain.fates import Fates
from agent.domain.ids import SourceName
from agent.domain.latency import InferenceTiming
from agent.domain.scene import Crossing
from agent.domain.stamp import Stamp
from agent.pipeline.results import FrameResult
from agent.pipeline.seeing import Seeing, Seen
from tests.fakes.models import facts

DOOR = SourceName("door")
SECOND = 1_000_000_000
CONFIRMED = round(1.1 * SECOND)
"""Frames come from 1.0 s on, and with the second one a track has a number."""
LEFT_HALF = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
LOWER_HALF = [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]


def policy(**camera: Any) -> Policy:
    return Policy.model_validate({"sources": {"door": {"kind": "synthetic", **camera}}})


def frame(
    *people: tuple[float, float],
    at_s: float,
    confidence: float = 0.9,
    number: int = 0,
    source: SourceName = DOOR,
) -> FrameResult:
    """People of 40 x 80 px whose feet are at these fractions of a picture of 400 x 400."""
    boxes = [(400 * x - 20, 400 * y - 80, 400 * x + 20, 400 * y) for x, y in people]
    return FrameResult(
        source=source,
        number=number,
        width_px=400,
        height_px=400,
        captured=Stamp(0, round(at_s * SECOND)),
        detections=Detections(
            boxes=np.array(boxes, np.float64).reshape(-1, 4),
            confidence=np.full(len(people), confidence, np.float32),
            class_id=np.zeros(len(people), np.int32),
            candidates=len(people),
            fates=Fates(under_threshold=3, reported=len(people)),
        ),
        model=facts(),
        lane=0,
        timing=InferenceTiming(0, 0, 0, 0),
    )


def watch(
    seeing: Seeing, *walks: list[tuple[float, float]], every_s: float = 0.1, since_s: float = 1.0
) -> list[Seen]:
    """One frame for each step of all walks together."""
    return [
        seeing.see(frame(*people, at_s=since_s + every_s * step))
        for step, people in enumerate(zip(*walks, strict=True))
    ]


def tracks(seen: Seen) -> list[int | None]:
    return [one.track for one in seen.scene.objects]


def test_camera_without_zones_and_tracking_shows_what_was_found() -> None:
    result = frame((0.3, 0.5), (0.6, 0.9), at_s=1)
    seen = Seeing(policy()).see(result)
    assert seen.result.detections.boxes is not None
    assert len(seen.result.detections) == 2
    assert (seen.scene.source, seen.scene.at) == (DOOR, result.captured)
    assert [one.class_name for one in seen.scene.objects] == ["person", "person"]
    assert seen.scene.objects[0].box == pytest.approx((0.25, 0.3, 0.35, 0.5))
    assert all((one.zones, one.track, one.moves) == ({}, None, True) for one in seen.scene.objects)
    assert not seen.follows


def test_camera_that_the_policy_does_not_know_shows_what_was_found() -> None:
    assert len(Seeing(Policy()).see(frame((0.3, 0.5), at_s=1)).scene.objects) == 1


def test_object_bears_the_names_of_all_zones_that_its_foot_is_in() -> None:
    zones = {"left": {"polygon": LEFT_HALF}, "low": {"polygon": LOWER_HALF}}
    seen = Seeing(policy(zones=zones)).see(frame((0.3, 0.9), (0.7, 0.9), (0.3, 0.4), (0.9, 0.3), at_s=7))
    assert [set(one.zones) for one in seen.scene.objects] == [{"left", "low"}, {"low"}, {"left"}, set()]
    assert seen.scene.objects[0].zones == {"left": 7 * SECOND, "low": 7 * SECOND}


def test_excluded_object_is_dropped_and_counted_and_its_neighbour_stays() -> None:
    zones = {"tree": {"polygon": LEFT_HALF, "mode": "exclude"}, "low": {"polygon": LOWER_HALF}}
    seen = Seeing(policy(zones=zones)).see(frame((0.3, 0.9), (0.7, 0.9), at_s=1))
    assert [set(one.zones) for one in seen.scene.objects] == [{"low"}]
    assert seen.result.detections.boxes.tolist() == [[260, 280, 300, 360]]
    assert seen.result.detections.fates == Fates(under_threshold=3, excluded=1, reported=1)


def test_excluding_one_class_leaves_the_others() -> None:
    zones = {"tree": {"polygon": LEFT_HALF, "mode": "exclude", "classes": ["bird"]}}
    assert len(Seeing(policy(zones=zones)).see(frame((0.3, 0.9), at_s=1)).scene.objects) == 1


def test_dwelling_is_since_the_track_came_into_the_zone() -> None:
    seeing = Seeing(policy(zones={"left": {"polygon": LEFT_HALF}}, tracking={}))
    path = [(0.56 - 0.01 * step, 0.5) for step in range(12)]  # over the edge with step 6, at 1.6 s
    last = watch(seeing, path)[-1].scene.objects[0]
    assert last.track == 1
    assert last.zones == {"left": round(1.6 * SECOND)}


@pytest.mark.parametrize(("away", "since_s"), [(9, 1.1), (11, 2.3)])
def test_leaving_a_zone_for_less_than_a_second_is_not_leaving(away: int, since_s: float) -> None:
    seeing = Seeing(policy(zones={"left": {"polygon": LEFT_HALF}}, tracking={}))
    path = [(0.49, 0.5)] * 3 + [(0.51, 0.5)] * (away - 1) + [(0.49, 0.5)] * 3
    (stands,) = watch(seeing, path)[-1].scene.objects
    assert stands.zones == {"left": pytest.approx(since_s * SECOND, abs=1)}


def test_out_of_sight_and_back_in_the_zone_has_stayed_there() -> None:
    seeing = Seeing(policy(zones={"left": {"polygon": LEFT_HALF}}, tracking={"keep_s": 5}))
    watch(seeing, [(0.3, 0.5)] * 3)
    seeing.see(frame(at_s=2))
    (back,) = seeing.see(frame((0.3, 0.5), at_s=5)).scene.objects
    assert (back.track, back.zones) == (1, {"left": CONFIRMED})


def test_who_keeps_his_place_stops_moving() -> None:
    seeing = Seeing(policy(tracking={"still_after_s": 1}))
    moves = [seen.scene.objects[0].moves for seen in watch(seeing, [(0.3, 0.5)] * 14)]
    # The place is known from the second sighting on, with which the track is confirmed.
    assert moves == [True] * 11 + [False] * 3


def test_line_is_crossed_by_tracked_objects_of_its_classes() -> None:
    line = {"points": [[0.5, 1.0], [0.5, 0.0]]}
    lines = {"gate": line, "birds": {**line, "classes": ["bird"]}}
    seeing = Seeing(policy(lines=lines, tracking={}))
    crossings = [
        crossing
        for seen in watch(seeing, [(0.4 + 0.02 * step, 0.5) for step in range(10)])
        for crossing in seen.scene.crossings
    ]
    assert crossings == [Crossing("gate", "person", 1, "forward")]


def test_frame_that_was_overtaken_is_seen_without_tracks_and_disturbs_none() -> None:
    seeing = Seeing(policy(tracking={}))
    watch(seeing, [(0.3, 0.5)] * 3)
    late = seeing.see(frame((0.3, 0.5), at_s=1.15))
    assert (late.is_late, tracks(late)) == (True, [None])
    following = seeing.see(frame((0.3, 0.5), at_s=1.3))
    assert (following.is_late, tracks(following)) == (False, [1])


def test_only_confirmed_leaves_out_what_has_no_number_and_counts_it() -> None:
    seeing = Seeing(policy(tracking={"only_confirmed": True}))
    first, second = watch(seeing, [(0.3, 0.5)] * 2)
    assert (tracks(first), len(first.result.detections)) == ([], 0)
    assert first.result.detections.fates == Fates(under_threshold=3, unconfirmed=1)
    assert tracks(second) == [1]


def test_each_camera_has_numbers_of_its_own() -> None:
    two = Policy.model_validate(
        {"sources": {name: {"kind": "synthetic", "tracking": {"confirm": 1}} for name in ("door", "yard")}}
    )
    seeing = Seeing(two)
    seen = [seeing.see(frame((0.3, 0.5), at_s=1, source=SourceName(name))) for name in ("door", "yard")]
    assert [tracks(each) for each in seen] == [[1], [1]]


class TestAdopting:
    def test_keeps_tracks_where_tracking_did_not_change(self) -> None:
        seeing = Seeing(policy(tracking={}))
        watch(seeing, [(0.3, 0.5)] * 3)
        seeing.adopt(
            policy(
                tracking={"still_after_s": 9}, zones={"left": {"polygon": LEFT_HALF}}, thresholds={"iou": 0.5}
            )
        )
        (same,) = seeing.see(frame((0.3, 0.5), at_s=1.3)).scene.objects
        assert (same.track, same.zones) == (1, {"left": round(1.3 * SECOND)})

    def test_keeps_since_when_zones_that_did_not_change_are_stood_in(self) -> None:
        left, low = {"polygon": LEFT_HALF}, {"polygon": LOWER_HALF}
        seeing = Seeing(policy(tracking={}, zones={"left": left, "low": low}))
        watch(seeing, [(0.3, 0.9)] * 3)
        changed = {**low, "min_confidence": 0.5}
        seeing.adopt(policy(tracking={}, zones={"left": left, "low": changed}))
        (same,) = seeing.see(frame((0.3, 0.9), at_s=1.3)).scene.objects
        assert same.zones == {"left": CONFIRMED, "low": round(1.3 * SECOND)}

    @pytest.mark.parametrize("between", [{}, {"tracking": {"confirm": 1, "keep_s": 9}}])
    def test_gives_no_number_twice_however_tracking_changes(self, between: dict[str, Any]) -> None:
        seeing = Seeing(policy(tracking={"confirm": 1}))
        assert tracks(seeing.see(frame((0.3, 0.5), at_s=1))) == [1]
        seeing.adopt(policy(**between))
        seeing.see(frame(at_s=2))
        seeing.adopt(policy(tracking={"confirm": 1}))
        assert tracks(seeing.see(frame((0.3, 0.5), at_s=3))) == [2]

    def test_gives_no_number_twice_to_a_camera_that_was_gone(self) -> None:
        seeing = Seeing(policy(tracking={"confirm": 1}))
        seeing.see(frame((0.3, 0.5), at_s=1))
        seeing.adopt(Policy())
        seeing.adopt(policy(tracking={"confirm": 1}))
        assert tracks(seeing.see(frame((0.3, 0.5), at_s=2))) == [2]

    def test_stops_following_where_tracking_went(self) -> None:
        seeing = Seeing(policy(tracking={"confirm": 1}))
        seeing.see(frame((0.3, 0.5), at_s=1))
        seeing.adopt(policy())
        assert tracks(seeing.see(frame((0.3, 0.5), at_s=2))) == [None]


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ({"lines": {"l": {"points": [[0, 0], [1, 1]]}}}, "tracking"),
        ({"lines": {"l": {"points": [[0.5, 0.5], [0.5, 0.5]]}}, "tracking": {}}, "begins where it ends"),
        ({"zones": {"z": {"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}}}, "crosses itself"),
        ({"zones": {"z": {"polygon": [[0, 0], [1, 1], [0.5, 0.5]]}}}, "an area is wanted"),
        ({"zones": {"z": {"polygon": LEFT_HALF, "mode": "exclude", "min_side_px": 9}}}, "exclude zone drops"),
        ({"tracking": {"low_confidence": 0.6}}, "low_confidence 0.6 is above high_confidence 0.4"),
    ],
)
def test_policy_that_makes_no_sense_is_refused_in_a_sentence(camera: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        policy(**camera)
