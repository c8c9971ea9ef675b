"""What is kept of the last minutes: bounded in time and memory, and exact."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise

import numpy as np

from agent.domain.considered import Considered
from agent.domain.detections import Detections, no_detections
from agent.domain.ids import SourceName
from agent.domain.latency import InferenceTiming
from agent.domain.reading import Reading, Score
from agent.domain.stamp import Stamp
from agent.pipeline.recollection import Heard, Recollection, SeenFrame
from agent.pipeline.results import FrameResult, SensorReadings, WindowResult
from agent.ports import ModelFacts
from tests.fakes.models import facts

DOOR, YARD, MOTOR = SourceName("door"), SourceName("yard"), SourceName("motor")
NS = 1_000_000_000
MODEL = facts()


def at(seconds: float) -> Stamp:
    return Stamp(int((1.7e9 + seconds) * NS), int(seconds * NS))


def considered(count: int, *, seed: int = 0, left_px: int = 0) -> Considered:
    rng = np.random.default_rng(seed)
    return Considered(
        boxes=rng.random((count, 4)).astype(np.float32) * 640,
        confidence=rng.random(count).astype(np.float32),
        class_id=rng.integers(0, 80, count),
        known_from=0.1,
        frame=(64, 48),
        corner=(left_px, 0),
        gain=(0.5, 0.5),
        suppresses=True,
    )


def frame(
    seconds: float,
    came_near: Considered | None,
    *,
    source: SourceName = DOOR,
    model: ModelFacts = MODEL,
) -> FrameResult:
    nothing = no_detections()
    return FrameResult(
        source=source,
        number=int(seconds * 10),
        width_px=64,
        height_px=48,
        captured=at(seconds),
        detections=Detections(nothing.boxes, nothing.confidence, nothing.class_id, considered=came_near),
        model=model,
        lane=0,
        timing=InferenceTiming(0, 0, 0, 0),
    )


def test_candidates_come_back_as_they_were() -> None:
    recollection = Recollection()
    kept = considered(30)
    recollection.remember(frame(1, kept), at(1))
    (entry,) = recollection.frames(DOOR, 0)
    again = entry.considered
    assert again.boxes.tobytes() == kept.boxes.tobytes()
    assert again.confidence.tobytes() == kept.confidence.tobytes()
    assert again.class_id.tolist() == kept.class_id.tolist()
    assert (again.frame, again.corner, again.gain) == (kept.frame, kept.corner, kept.gain)
    assert (again.known_from, again.suppresses, again.at_most) == (0.1, True, None)


def test_a_frame_without_candidates_is_kept_too() -> None:
    recollection = Recollection()
    recollection.remember(frame(1, None), at(1))
    (entry,) = recollection.frames(DOOR, 0)
    assert len(entry.considered.confidence) == 0


def test_frames_that_lie_otherwise_are_told_apart() -> None:
    recollection = Recollection()
    other = facts("others")
    results = [
        frame(1, considered(3)),
        frame(2, considered(3)),
        frame(3, considered(3, left_px=7)),
        frame(4, considered(3, left_px=7), model=other),
    ]
    for result in results:
        recollection.remember(result, result.captured)
    views = [entry.view for entry in recollection.frames(DOOR, 0)]
    assert [one is next_one for one, next_one in pairwise(views)] == [True, False, False]
    assert views[2].corner == (7, 0)
    assert views[3].model is other


def test_what_is_older_than_the_span_goes() -> None:
    recollection = Recollection(minutes=1)
    for second in range(100):
        recollection.remember(frame(second, considered(2)), at(second))
    kept = [entry.now.monotonic_ns // NS for entry in recollection.since(0)]
    assert kept == list(range(39, 100))
    assert [entry.now.monotonic_ns // NS for entry in recollection.since(90 * NS)] == list(range(90, 100))


def test_memory_is_bounded_and_reckoned_honestly() -> None:
    most = 400_000
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    recollection = Recollection(max_bytes=most)
    for number in range(3000):
        source = (DOOR, YARD)[number % 2]
        recollection.remember(frame(number / 10, considered(20, seed=number), source=source), at(number / 10))
        assert recollection.bytes <= most
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.6 * recollection.bytes < taken < 1.1 * recollection.bytes
    newest = [entry.now.monotonic_ns for entry in recollection.since(0)][-1]
    assert newest == at(299.9).monotonic_ns


def test_readings_are_thinned_and_scores_and_conditions_kept_in_order() -> None:
    recollection = Recollection()
    fast = tuple(Reading("x", float(number), "g", at(number / 200)) for number in range(200))
    recollection.remember(SensorReadings(MOTOR, fast), at(1))
    recollection.remember(
        WindowResult(MOTOR, Score("m", at(0), at(1), 0.5, 0.8), InferenceTiming(0, 0, 0, 0)), at(1.1)
    )
    recollection.remember_condition(DOOR, "failed", at(1.2))
    readings, score, condition = recollection.since(0)
    assert isinstance(readings, Heard)
    assert isinstance(readings.what, tuple)
    assert len(readings.what) == 20
    assert recollection.thinned == {MOTOR}
    assert isinstance(score, Heard)
    assert isinstance(score.what, WindowResult)
    assert isinstance(condition, Heard)
    assert (condition.source, condition.what) == (DOOR, "failed")
    assert not any(isinstance(entry, SeenFrame) for entry in recollection.since(0))


def test_how_a_source_was_at_the_beginning_is_told_first() -> None:
    recollection = Recollection(minutes=1)
    recollection.remember_condition(DOOR, "failed", at(0))
    recollection.remember_condition(YARD, "ok", at(50))
    for second in range(90, 100):
        recollection.remember(frame(second, considered(1)), at(second))
    door, yard, *frames = recollection.since(95 * NS)
    assert door == Heard(DOOR, "failed", at(95))
    assert yard == Heard(YARD, "ok", at(95))
    assert len(frames) == 5
