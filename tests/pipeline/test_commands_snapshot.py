"""Pictures on demand: of a camera with a model, of one without, and of one that gives none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import cv2
import numpy as np
import pytest

from agent.contract.policy import Policy
from agent.domain.errors import Code, RefusedError, TransientError
from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.domain.latency import InferenceTiming
from agent.domain.thresholds import Thresholds
from agent.pipeline.commands.pictures import Pictures
from agent.pipeline.commands.snapshot import Snapshots
from agent.pipeline.results import FrameResult
from agent.pipeline.scheduler import FrameJob
from agent.pipeline.seeing import Seeing
from agent.pipeline.supervise import in_thread
from tests.fakes.clock import FakeClock
from tests.fakes.commands_node import TOPICS
from tests.fakes.metrics import FakeMetrics
from tests.fakes.models import FakeDetector, facts, one_person
from tests.fakes.outbox import FakeOutbox
from tests.polling import until

DOOR = SourceName("door")
POLICY = {
    "models": {"people": {"file": "people.onnx"}},
    "sources": {
        "door": {
            "kind": "synthetic",
            "model": "people",
            "zones": {"hall": {"polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]}},
        },
        "yard": {"kind": "synthetic"},
        "gone": {"kind": "synthetic", "enabled": False},
        "board": {"kind": "system"},
    },
}


def picture_of(source: str, number: int, clock: FakeClock, *, width: int = 640, height: int = 480) -> Frame:
    pixels = np.full((height, width, 3), number % 255, np.uint8)
    return Frame(SourceName(source), number, clock.now(), pixels)


class Rig:
    def __init__(self, **policy: Any) -> None:
        self.clock = FakeClock()
        self.loop = asyncio.get_running_loop()
        self.seeing = Seeing(Policy.model_validate({**POLICY, **policy}))
        self.metrics = FakeMetrics()
        self.outbox = FakeOutbox(clock=self.clock)
        self.pictures = Pictures(served_within_s=0.3, captured_within_s=0.3)
        self.snapshots = Snapshots(
            pictures=self.pictures,
            outbox=self.outbox,
            topics=TOPICS,
            clock=self.clock,
            metrics=self.metrics,
            policy=Policy.model_validate({**POLICY, **policy}),
            config_version=lambda: 42,
        )

    def seen(self, frame: Frame) -> Frame:
        self.pictures.captured(frame)
        return frame

    def served(self, frame: Frame) -> None:
        now_ns = self.clock.now().monotonic_ns
        result = FrameResult(
            source=frame.source,
            number=frame.number,
            width_px=frame.width_px,
            height_px=frame.height_px,
            captured=frame.captured,
            detections=one_person(),
            model=facts(),
            lane=0,
            timing=InferenceTiming(now_ns, now_ns, now_ns, now_ns),
        )
        job = FrameJob(FakeDetector(), (frame,), (Thresholds(),), now_ns)
        # By two ways, and either may be first.
        ways: list[Callable[[], object]] = [
            lambda: self.pictures.served(job, [result]),
            lambda: self.loop.call_soon_threadsafe(self.pictures.seen, self.seeing.see(result)),
        ]
        for way in reversed(ways) if frame.number % 2 else ways:
            way()

    @asynccontextmanager
    async def filming(self, work: Callable[[int], None]) -> AsyncIterator[None]:
        """A camera in a thread of its own, until the end."""
        over = False

        def film() -> None:
            number = 0
            while not over:
                work(number)
                number += 1

        task = asyncio.create_task(in_thread("film", film))
        try:
            yield
        finally:
            over = True
            await task


async def test_a_picture_goes_out_with_what_the_model_found_in_it() -> None:
    rig = Rig()
    async with rig.filming(lambda number: rig.served(rig.seen(picture_of("door", number, rig.clock)))):
        answer = await rig.snapshots({"source": "door", "quality": 90, "longest_side_px": 320})
    (row,) = rig.outbox.rows.values()
    assert (row.stream, row.priority, row.content_type) == ("snapshots/door", "snapshot", "image/jpeg")
    assert row.expiry_s == 86_400
    decoded = cv2.imdecode(np.frombuffer(row.body, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (240, 320, 3)
    message = answer["detections"]
    assert abs(int(decoded[0, 0, 0]) - message["frame"]["number"] % 255) <= 2  # of the very same frame
    assert message["frame"] == {"width": 640, "height": 480, "number": int(row.properties["frame"])}
    assert (message["boot"], str(message["monotonic_ms"])) == (
        row.properties["boot"],
        row.properties["monotonic_ms"],
    )
    assert [(found["class"], found["zones"]) for found in message["objects"]] == [("person", ["hall"])]
    assert row.properties == {
        "source": "door",
        "time": "2023-11-14T22:13:20.000Z",
        "clock": "synced",
        "boot": rig.clock.boot,
        "monotonic_ms": "10000",
        "frame": row.properties["frame"],
        "width": "320",
        "height": "240",
        "quality": "90",
        "config_version": "42",
        "model": "people",
        "model_version": "1.0.0",
        "model_sha256": "ab" * 32,
    }
    assert answer["stream"] == "snapshots/door"
    assert answer["bytes"] == len(row.body)


async def test_a_camera_without_a_model_gives_its_picture_at_once() -> None:
    rig = Rig()
    async with rig.filming(lambda number: rig.pictures.captured(picture_of("yard", number, rig.clock))):
        answer = await rig.snapshots({"source": "yard"})
    assert answer["detections"] is None
    assert "model" not in answer


async def test_a_camera_whose_model_does_not_look_gives_its_picture_in_the_end() -> None:
    rig = Rig()
    async with rig.filming(lambda number: rig.pictures.captured(picture_of("door", number, rig.clock))):
        assert (await rig.snapshots({"source": "door"}))["detections"] is None


async def test_a_camera_that_gives_none_is_told() -> None:
    rig = Rig()
    async with rig.filming(lambda number: rig.pictures.captured(picture_of("yard", number, rig.clock))):
        with pytest.raises(TransientError) as told:
            await rig.snapshots({"source": "door"})
    assert told.value.code == Code.TIMEOUT
    assert not rig.outbox.rows


async def test_nothing_is_held_when_nobody_asks() -> None:
    rig = Rig()
    rig.served(rig.seen(picture_of("door", 1, rig.clock)))
    with pytest.raises(TransientError):
        await rig.snapshots({"source": "door"})
    assert rig.pictures._wishes == {}


async def test_two_who_ask_at_once_both_get_one() -> None:
    rig = Rig()
    async with rig.filming(lambda number: rig.served(rig.seen(picture_of("door", number, rig.clock)))):
        answers = await asyncio.gather(*(rig.snapshots({"source": "door"}) for _ in range(2)))
    assert len(answers) == len(rig.outbox.rows) == 2


@pytest.mark.parametrize("source", ["roof", "gone", "board"])
async def test_what_is_no_camera_at_work_is_refused(source: str) -> None:
    with pytest.raises(RefusedError) as refused:
        await Rig().snapshots({"source": source})
    assert (refused.value.code, refused.value.path) == (Code.SCHEMA, "/args/source")
    assert "door, yard" in refused.value.message


async def test_a_picture_is_never_larger_than_a_message_may_be() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    rig = Rig(publish={"max_message_bytes": 60_000})
    async with rig.filming(
        lambda n: rig.pictures.captured(Frame(SourceName("yard"), n, rig.clock.now(), noise))
    ):
        answer = await rig.snapshots({"source": "yard", "quality": 95})
        assert answer["bytes"] <= 60_000
        assert int(answer["quality"]) < 95
        rig.snapshots.adopt(Policy.model_validate({**POLICY, "publish": {"max_message_bytes": 1_024}}))
        with pytest.raises(RefusedError) as refused:
            await rig.snapshots({"source": "yard"})
    assert (refused.value.code, refused.value.path) == (Code.SIZE, "/args/longest_side_px")


class TestForRules:
    @asynccontextmanager
    async def running(self, rig: Rig) -> AsyncIterator[None]:
        task = asyncio.create_task(rig.snapshots.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def test_a_picture_goes_with_its_event(self) -> None:
        rig = Rig()
        async with (
            self.running(rig),
            rig.filming(lambda number: rig.served(rig.seen(picture_of("door", number, rig.clock)))),
        ):
            rig.snapshots.request(DOOR, "01JC")
            await until(lambda: len(rig.outbox.rows) == 1)
        (row,) = rig.outbox.rows.values()
        assert row.properties["event"] == "01JC"
        assert rig.metrics.counts["snapshots_total outcome=taken source=door"] == 1

    async def test_what_cannot_be_had_is_counted_and_the_next_is_taken(self) -> None:
        rig = Rig()
        async with (
            self.running(rig),
            rig.filming(lambda number: rig.pictures.captured(picture_of("yard", number, rig.clock))),
        ):
            rig.snapshots.request(SourceName("roof"), "01")
            rig.snapshots.request(SourceName("yard"), "02")
            await until(lambda: len(rig.outbox.rows) == 1)
        assert rig.metrics.counts["snapshots_total outcome=failed source=roof"] == 1

    async def test_too_many_are_left_out(self) -> None:
        rig = Rig()
        for number in range(20):
            rig.snapshots.request(DOOR, f"{number}")
        assert rig.metrics.counts["snapshots_total outcome=failed source=door"] == 12
