"""A second model on spare time: when it may look, what is told of it, and that it harms nobody."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from agent.adapters.system.clock import SystemClock
from agent.domain.detections import Detections, no_detections
from agent.domain.errors import Code, TransientError
from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.domain.reading import SensorWindow
from agent.domain.thresholds import Thresholds
from agent.pipeline.handover import Handover
from agent.pipeline.inference import InferenceWorker
from agent.pipeline.mailbox import Mailbox
from agent.pipeline.results import FrameResult, Result
from agent.pipeline.scheduler import FrameJob, Scheduler
from agent.pipeline.shadow import MOST_FAILURES, ShadowPlan, Shadows
from agent.pipeline.supervise import Ticks
from agent.ports import Look, Status
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.fakes.models import FakeAnomalyModel, FakeDetector, one_person

DOOR, MOTOR = SourceName("door"), SourceName("motor")


# When there is spare time, by a clock that stands still.


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def scheduler(clock: FakeClock) -> Scheduler:
    return Scheduler(clock=clock)


def camera(scheduler: Scheduler, *, fps: float | None = None) -> Mailbox[Frame]:
    return scheduler.add_camera(
        DOOR, model=FakeDetector(), thresholds=Thresholds(), overflow="newest", fps=fps
    )


def film(
    scheduler: Scheduler, mailbox: Mailbox[Frame], clock: FakeClock, frames: int, *, every_s: float
) -> None:
    """Frames are put and served at once; it ends right after the last."""
    for number in range(frames):
        clock.advance(every_s)
        mailbox.put(Frame(DOOR, number, clock.now(), np.zeros((2, 2, 3), np.uint8)))
        with scheduler._lock:
            scheduler._choose(clock.now().monotonic_ns)


def spare(scheduler: Scheduler, need_s: float) -> bool:
    return scheduler.wait_for_spare(need_s, timeout_s=0.0)


def test_time_is_spare_until_the_next_frame_is_due(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = camera(scheduler)
    film(scheduler, mailbox, clock, 10, every_s=0.1)

    assert spare(scheduler, 0.09)
    assert not spare(scheduler, 0.11)
    clock.advance(0.06)
    assert spare(scheduler, 0.03)
    assert not spare(scheduler, 0.05)
    clock.advance(0.05)  # overdue: it may come at any moment
    assert not spare(scheduler, 0.001)
    clock.advance(5)  # it has ended
    assert spare(scheduler, 1.0)


def test_one_interval_that_was_short_by_accident_does_not_count(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    mailbox = camera(scheduler)
    film(scheduler, mailbox, clock, 8, every_s=0.1)
    film(scheduler, mailbox, clock, 1, every_s=0.01)
    film(scheduler, mailbox, clock, 8, every_s=0.1)
    assert spare(scheduler, 0.09)


def test_a_camera_of_which_little_is_known_leaves_no_time(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = camera(scheduler)
    assert spare(scheduler, 1.0)  # it is not there yet
    film(scheduler, mailbox, clock, 2, every_s=0.1)
    assert not spare(scheduler, 0.001)


def test_a_rate_limit_leaves_time_between_frames_that_are_due(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = camera(scheduler, fps=2.0)
    film(scheduler, mailbox, clock, 11, every_s=0.1)
    assert mailbox.statistics().taken == 3
    assert spare(scheduler, 0.45)
    assert not spare(scheduler, 0.55)


def test_no_time_is_spare_while_a_lane_works_a_window_waits_or_load_is_shed(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    mailbox = camera(scheduler)
    film(scheduler, mailbox, clock, 10, every_s=1.0)
    assert spare(scheduler, 0.9)

    scheduler.relieve(keep_one_of={DOOR: 2}, scale=1.0, lanes=1)
    assert not spare(scheduler, 0.1)
    scheduler.relieve(keep_one_of={DOOR: 1}, scale=1.0, lanes=1)
    assert spare(scheduler, 0.9)

    sensor = scheduler.add_sensor(MOTOR, model=FakeAnomalyModel(), deadline_s=2.0)
    sensor.put(SensorWindow(MOTOR, clock.now(), clock.now(), np.zeros((4, 1), np.float32)))
    assert not spare(scheduler, 0.1)
    scheduler.next_job(0)  # the lane has the window now
    assert not spare(scheduler, 0.1)
    scheduler.relieve(keep_one_of={}, scale=1.0, lanes=1)
    mailbox.put(Frame(DOOR, 99, clock.now(), np.zeros((2, 2, 3), np.uint8)))
    assert isinstance(scheduler.next_job(0), FrameJob)
    assert not spare(scheduler, 0.1)
    scheduler.close()
    assert not spare(scheduler, 0.1)


# The shadows at work, beside a real worker.


class Bench:
    """A camera, a worker, and a shadow; `film` gives the worker one frame every `every_s`."""

    def __init__(self, shadow: FakeDetector, *, fps: float = 1000.0) -> None:
        self.clock = SystemClock()
        self.metrics = FakeMetrics()
        self.conditions: list[tuple[str, str, str | None]] = []
        self.scheduler = Scheduler(clock=self.clock)
        self.results: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=64)
        self.got: list[FrameResult] = []
        self.shadows = Shadows(
            plans={DOOR: ShadowPlan(model=shadow, fps=fps, memory_mb=30.0, primary_memory_mb=50.0)},
            scheduler=self.scheduler,
            clock=self.clock,
            metrics=self.metrics,
            on_condition=self._hear,
        )
        self.worker = InferenceWorker(
            scheduler=self.scheduler,
            results=self.results,
            lanes=1,
            clock=self.clock,
            metrics=self.metrics,
            ticks=Ticks(clock=self.clock),
            on_condition=self._hear,
            on_served=self.shadows.offer,
        )
        self.mailbox = self.scheduler.add_camera(
            DOOR,
            model=FakeDetector(answer=lambda _: one_person()),
            thresholds=Thresholds(),
            overflow="newest",
        )

    def _hear(self, who: str, status: Status, code: str | None, message: str | None) -> None:
        assert message
        self.conditions.append((who, status, code))

    def outcome(self, outcome: str) -> int:
        return self.metrics.counts[f"shadow_frames_total outcome={outcome} source=door"]

    async def film(self, until_: Callable[[], bool], *, every_s: float) -> int:
        number = 0
        while not until_():
            assert number < 2000
            self.mailbox.put(
                Frame(DOOR, number, self.clock.now(), np.full((48, 64, 3), number % 250, np.uint8))
            )
            number += 1
            await asyncio.sleep(every_s)
        return number

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()

        async def gather() -> None:
            while not self.results.drained:
                item = await self.results.get(timeout_s=0.1)
                if isinstance(item, FrameResult):
                    self.got.append(item)

        async with asyncio.TaskGroup() as group:
            shadows = group.create_task(self.shadows.run(stop))
            worker = group.create_task(self.worker.run())
            group.create_task(gather())
            try:
                yield
            finally:
                stop.set()
                self.scheduler.close()
                await asyncio.wait([worker, shadows], timeout=10)
                self.results.close()


async def test_it_sees_the_frames_that_the_first_has_served_and_the_comparison_is_told() -> None:
    seen: list[int] = []

    def answer(look: Look) -> Detections:
        seen.append(int(look.pixels[0, 0, 0]))
        return one_person() if len(seen) % 2 else no_detections()

    bench = Bench(FakeDetector("next", answer=answer))
    async with bench.running():
        await bench.film(lambda: bench.outcome("compared") >= 10, every_s=0.02)
    told = bench.shadows.reports[DOOR]

    assert (told.model, told.status, told.failed) == ("next", "on", 0)
    assert told.frames == len(seen) >= 10
    assert told.recall == pytest.approx(0.5, abs=0.06)
    assert (told.precision, told.iou, told.confidence_difference) == (1.0, 1.0, 0.0)
    assert told.agreement == pytest.approx(2 / 3, abs=0.06)
    assert told.latency_ms is not None
    assert told.primary_latency_ms is not None
    assert told.latency_ms.p50 <= told.latency_ms.p95
    assert (told.memory_mb, told.primary_memory_mb) == (30.0, 50.0)
    assert seen == sorted(set(seen))
    assert set(seen) <= {result.number for result in bench.got}
    assert all(len(result.detections) == 1 for result in bench.got)
    assert bench.conditions == []


async def test_before_a_frame_is_compared_no_agreement_is_claimed() -> None:
    told = Bench(FakeDetector("next")).shadows.reports[DOOR]

    assert (told.frames, told.agreement, told.recall, told.precision) == (0, None, None, None)


async def test_it_looks_no_more_often_than_it_is_asked_to() -> None:
    bench = Bench(FakeDetector(), fps=10.0)
    began_s = time.monotonic()
    async with bench.running():
        await bench.film(lambda: bench.outcome("compared") >= 5, every_s=0.02)
    assert time.monotonic() - began_s >= 0.4
    assert len(bench.got) > 2 * bench.shadows.reports[DOOR].frames


async def test_a_shadow_that_is_too_slow_for_the_time_there_is_runs_once_and_then_not() -> None:
    def slow(_look: Look) -> Detections:
        end_s = time.thread_time() + 0.2
        while time.thread_time() < end_s:
            pass
        return no_detections()

    bench = Bench(FakeDetector(answer=slow))
    async with bench.running():
        await bench.film(lambda: bench.outcome("missed") >= 20, every_s=0.02)
    told = bench.shadows.reports[DOOR]
    assert (told.frames, told.failed) == (1, 0)
    assert told.missed >= 20


async def test_a_shadow_that_fails_is_counted_told_and_switched_off_and_the_first_goes_on() -> None:
    def fail(_look: Look) -> Detections:
        raise TransientError("it runs out of memory", code=Code.MODEL)

    shadow = FakeDetector("next", answer=fail)
    bench = Bench(shadow)
    async with bench.running():
        await bench.film(lambda: bool(bench.conditions), every_s=0.02)
        served = len(bench.got)
        await bench.film(lambda: len(bench.got) >= served + 10, every_s=0.02)
    told = bench.shadows.reports[DOOR]

    assert bench.conditions == [("shadow-door", "degraded", "E_MODEL")]
    assert (told.status, told.failed, told.frames) == ("off", MOST_FAILURES, 0)
    assert len(shadow.batches) == MOST_FAILURES
    assert bench.mailbox.statistics().dropped.get("unhealthy") is None


async def test_an_error_that_nobody_foresaw_ends_the_shadows_and_nothing_else() -> None:
    def crash(_look: Look) -> Detections:
        raise ZeroDivisionError("a defect of the head")

    bench = Bench(FakeDetector(answer=crash))
    async with bench.running():
        await bench.film(lambda: bool(bench.conditions), every_s=0.02)
        served = len(bench.got)
        await bench.film(lambda: len(bench.got) >= served + 10, every_s=0.02)
    assert bench.conditions == [("shadow-door", "degraded", "E_INTERNAL")]


async def test_stopping_does_not_wait_for_a_run_that_hangs() -> None:
    shadow = FakeDetector()
    shadow.gate.clear()
    bench = Bench(shadow)
    async with bench.running():
        await bench.film(lambda: bench.outcome("missed") >= 3, every_s=0.02)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 5
    shadow.gate.set()
    assert bench.shadows.reports[DOOR].frames == 0


async def test_a_machine_that_keeps_the_shadow_waiting_is_left_alone_for_a_while() -> None:
    def kept_waiting(_look: Look) -> Detections:
        time.sleep(0.02)  # no time of its own: as if other processes had the core
        return no_detections()

    bench = Bench(FakeDetector(answer=kept_waiting))
    async with bench.running():
        await bench.film(lambda: len(bench.got) >= 25, every_s=0.1)
    assert bench.shadows.reports[DOOR].frames == 1
