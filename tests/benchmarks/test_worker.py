"""The benchmark's worker: every frame once, and one at a time where that is wanted."""

import threading

import numpy as np
import pytest

from agent.domain.detections import Detections, no_detections
from agent.domain.errors import Code, TransientError
from agent.ports import Look
from benchmarks.worker import serve
from tests.fakes.models import FakeDetector
from tests.polling import until

PICTURES = [np.full((48, 64, 3), shade, np.uint8) for shade in (10, 20, 30)]


async def test_every_frame_is_served_once_and_the_pictures_take_turns() -> None:
    seen: list[int] = []

    def look_at(look: Look) -> Detections:
        seen.append(int(look.pixels[0, 0, 0]))
        return no_detections()

    results = await serve(FakeDetector(answer=look_at), PICTURES, lanes=2, frames=70, one_by_one=False)

    assert sorted(result.number for result in results) == list(range(70))
    assert {shade: seen.count(shade) for shade in (10, 20, 30)} == {10: 24, 20: 23, 30: 23}


async def test_one_by_one_captures_a_frame_when_the_last_one_has_been_served() -> None:
    results = await serve(FakeDetector(), PICTURES, lanes=1, frames=20, one_by_one=True)

    finished_ns = [result.timing.finished_ns for result in results]
    captured_ns = [result.captured.monotonic_ns for result in results]
    assert [result.number for result in results] == list(range(20))
    assert all(end <= begin for end, begin in zip(finished_ns, captured_ns[1:], strict=False))


async def test_a_model_that_fails_ends_the_measurement_and_its_threads() -> None:
    def fail(_look: Look) -> Detections:
        raise TransientError("out of memory", code=Code.MODEL)

    with pytest.raises(RuntimeError, match="inference-people is failed: out of memory"):
        await serve(FakeDetector(answer=fail), PICTURES, lanes=2, frames=10, one_by_one=False)

    await until(lambda: not {"lane[0]", "lane[1]", "frames"} & {each.name for each in threading.enumerate()})


async def test_an_error_that_nobody_foresaw_ends_the_measurement_as_it_is() -> None:
    def fail(_look: Look) -> Detections:
        raise ZeroDivisionError("an error of the head")

    with pytest.raises(ZeroDivisionError, match="an error of the head"):
        await serve(FakeDetector(answer=fail), PICTURES, lanes=2, frames=10, one_by_one=False)
