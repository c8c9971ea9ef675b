"""The worker's lanes, with real threads."""

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest

from agent.domain.detections import Detections
from agent.domain.errors import Code, TransientError
from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.domain.reading import SensorWindow
from agent.domain.thresholds import Thresholds
from agent.pipeline.handover import Handover
from agent.pipeline.inference import InferenceWorker
from agent.pipeline.mailbox import Mailbox
from agent.pipeline.results import FrameResult, Result, WindowResult
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.supervise import Ticks
from agent.ports import Look
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.fakes.models import FakeAnomalyModel, FakeDetector, one_person
from tests.polling import until

DOOR, MOTOR = SourceName("door"), SourceName("motor")


class Bench:
    """A worker with everything around it, and what it told."""

    def __init__(self, *, lanes: int = 2, capacity: int = 8) -> None:
        self.clock = FakeClock()
        self.scheduler = Scheduler(clock=self.clock)
        self.results: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=capacity)
        self.metrics = FakeMetrics()
        self.conditions: list[tuple[str, str, str | None]] = []
        self.ticks = Ticks(clock=self.clock)
        self.worker = InferenceWorker(
            scheduler=self.scheduler,
            results=self.results,
            lanes=lanes,
            clock=self.clock,
            metrics=self.metrics,
            ticks=self.ticks,
            on_condition=lambda who, status, code, _message: self.conditions.append((who, status, code)),
        )

    def camera(self, model: FakeDetector) -> Mailbox[Frame]:
        return self.scheduler.add_camera(DOOR, model=model, thresholds=Thresholds(), overflow="wait")

    def frame(self, number: int) -> Frame:
        return Frame(DOOR, number, self.clock.now(), np.zeros((48, 64, 3), np.uint8))

    async def run_to_the_end(self, feed: Callable[[], object]) -> list[Result]:
        """Feed in a thread, close, and gather everything that came out."""

        def feed_and_close() -> None:
            feed()
            self.scheduler.close()

        got: list[Result] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(feed_and_close))
            worker = group.create_task(self.worker.run())
            while not (worker.done() and not len(self.results)):
                item = await self.results.get(timeout_s=0.05)
                if item is not None:
                    got.append(item)
        return got


async def test_every_frame_of_a_waiting_camera_comes_out_once() -> None:
    bench = Bench(lanes=3)
    mailbox = bench.camera(FakeDetector(answer=lambda _look: one_person()))

    got = await bench.run_to_the_end(lambda: [mailbox.put(bench.frame(n)) for n in range(50)])

    frames = [result for result in got if isinstance(result, FrameResult)]
    assert sorted(result.number for result in frames) == list(range(50))
    assert all((r.width_px, r.height_px, len(r.detections)) == (64, 48, 1) for r in frames)
    assert mailbox.statistics().taken == 50
    assert len(bench.metrics.observed["stage_seconds stage=inference"]) == 50
    assert bench.ticks.stalled() == []


async def test_each_result_names_the_lane_that_ran_it() -> None:
    bench = Bench(lanes=2)
    both_run = threading.Barrier(2)

    def answer(_look: Look) -> Detections:
        both_run.wait(timeout=10)
        return one_person()

    mailbox = bench.camera(FakeDetector(answer=answer))
    got = await bench.run_to_the_end(lambda: [mailbox.put(bench.frame(n)) for n in range(2)])

    assert sorted(result.lane for result in got if isinstance(result, FrameResult)) == [0, 1]


async def test_failing_run_spoils_only_its_frame_and_the_model_recovers() -> None:
    bench = Bench(lanes=1)
    runs = iter(range(100))

    def answer(_look: Look) -> Detections:
        if next(runs) == 1:
            raise TransientError("the runtime failed", code=Code.MODEL)
        return one_person()

    mailbox = bench.camera(FakeDetector(answer=answer))
    got = await bench.run_to_the_end(lambda: [mailbox.put(bench.frame(n)) for n in range(4)])

    assert [result.number for result in got if isinstance(result, FrameResult)] == [0, 2, 3]
    assert mailbox.statistics().dropped == {"unhealthy": 1}
    assert bench.conditions == [("inference-people", "failed", "E_MODEL"), ("inference-people", "ok", None)]


async def test_unforeseen_error_in_a_lane_ends_the_worker() -> None:
    bench = Bench(lanes=2)

    def answer(_look: Look) -> Detections:
        raise ZeroDivisionError("a defect of ours")

    mailbox = bench.camera(FakeDetector(answer=answer))
    mailbox.put(bench.frame(0))
    with pytest.raises(ZeroDivisionError, match="a defect of ours"):
        await asyncio.wait_for(bench.worker.run(), timeout=10)
    bench.scheduler.close()


async def test_sensor_windows_are_scored_between_frames() -> None:
    bench = Bench(lanes=1)
    camera = bench.camera(FakeDetector())
    sensor = bench.scheduler.add_sensor(MOTOR, model=FakeAnomalyModel(), deadline_s=1.0)

    def feed() -> None:
        for number in range(3):
            camera.put(bench.frame(number))
            values = np.full((4, 1), number, np.float32)
            sensor.put(SensorWindow(MOTOR, bench.clock.now(), bench.clock.now(), values))

    got = await bench.run_to_the_end(feed)

    scores = [result.score for result in got if isinstance(result, WindowResult)]
    assert [score.score for score in scores] == [0.0, 1.0, 2.0]
    assert {score.threshold for score in scores} == {0.8}
    assert len(got) == 6


async def test_slow_reader_holds_the_worker_back_instead_of_filling_memory() -> None:
    bench = Bench(lanes=1, capacity=1)
    mailbox = bench.camera(FakeDetector())
    worker = asyncio.ensure_future(bench.worker.run())
    feeder = asyncio.ensure_future(
        asyncio.to_thread(lambda: [mailbox.put(bench.frame(number)) for number in range(6)])
    )
    # One result here, one in the lane's hand, one frame in the mailbox: then capture has to wait.
    await until(lambda: mailbox.statistics().offered == 3 and len(bench.results) == 1)
    await asyncio.sleep(0.05)
    assert mailbox.statistics().offered == 3
    assert not feeder.done()

    numbers: list[int] = []
    while len(numbers) < 6:
        item = await bench.results.get(timeout_s=5)
        assert isinstance(item, FrameResult)
        numbers.append(item.number)
    assert numbers == list(range(6))
    await feeder
    bench.scheduler.close()
    await asyncio.wait_for(worker, timeout=10)
