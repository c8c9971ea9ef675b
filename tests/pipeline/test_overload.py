"""An overloaded worker and what the ladder makes of it: real lanes, cameras with clocks of their own."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from agent.adapters.system.clock import SystemClock
from agent.contract.topics import Topics
from agent.domain.detections import Detections, no_detections
from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.domain.reading import SensorWindow
from agent.domain.thresholds import Thresholds
from agent.pipeline.announcements import Announcements
from agent.pipeline.handover import Handover
from agent.pipeline.health import Health, Machine
from agent.pipeline.inference import InferenceWorker
from agent.pipeline.ladder import Dwells, Ladder, PowerMode, Signals, rungs_for
from agent.pipeline.mailbox import Mailbox, MailboxStatistics, Overflow
from agent.pipeline.overload import Overload, Strain
from agent.pipeline.pressure import Pressure
from agent.pipeline.results import Result
from agent.pipeline.scheduler import FrameJob, NoJob, Scheduler
from agent.pipeline.supervise import Ticks
from agent.ports import Look
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.fakes.models import FakeAnomalyModel, FakeDetector
from tests.fakes.outbox import FakeOutbox
from tests.polling import until

DOOR, YARD, MOTOR = (SourceName(name) for name in ("door", "yard", "motor"))
QUICK = Dwells(persist_s=0.1, load_s=0.3, heat_s=0.3, much_hotter_s=0.3, down_s=1.5, longest_down_s=1.5)
"""The same proportions in a fraction of the time."""


class Node:
    """Scheduler, worker, health and ladder as the agent joins them, with readable announcements."""

    def __init__(self, *, lanes: int = 1, mode: PowerMode = "full", dwells: Dwells = QUICK) -> None:
        self.clock = SystemClock()
        self.metrics = FakeMetrics()
        self.ticks = Ticks(clock=self.clock)
        self.strain = Strain()
        self.announcements = Announcements()
        self.scheduler = Scheduler(clock=self.clock)
        self.results: Handover[Result] = Handover(loop=asyncio.get_running_loop(), capacity=64)
        self.health = Health(
            topics=Topics("plant", "nano-1"),
            announcements=self.announcements,
            outbox=FakeOutbox(clock=self.clock),
            clock=self.clock,
            metrics=self.metrics,
            ticks=self.ticks,
            sources=frozenset({DOOR, YARD}),
            flow=self.scheduler.statistics,
            machine=lambda: Machine(memory_mb=1.0, temperature_c={}),
            session=lambda: 1,
            heartbeat_s=60.0,
            config_version=1,
            scrub=lambda text: text,
        )
        self.worker = InferenceWorker(
            scheduler=self.scheduler,
            results=self.results,
            lanes=lanes,
            clock=self.clock,
            metrics=self.metrics,
            ticks=self.ticks,
            on_condition=self.health.report,
        )
        self.overload = Overload(
            scheduler=self.scheduler,
            lanes=lanes,
            mode=mode,
            max_temperature_c=85.0,
            strain=lambda: self.strain,
            clock=self.clock,
            metrics=self.metrics,
            ticks=self.ticks,
            on_condition=self.health.report,
            dwells=dwells,
            look_s=0.1,
        )

    @property
    def rung(self) -> float:
        return self.metrics.gauges.get("overload_rung", -1.0)

    def condition(self) -> dict[str, str]:
        stages = self.health.describe()["stages"]
        condition: dict[str, str] = stages.get("overload", {})
        return condition

    @property
    def message(self) -> str:
        return self.condition().get("message") or ""

    def flow(self, source: SourceName) -> MailboxStatistics:
        return self.scheduler.statistics()[source]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()

        async def drain() -> None:
            while not self.results.drained:
                await self.results.get(timeout_s=0.1)

        async with asyncio.TaskGroup() as group:
            group.create_task(self.overload.run(stop))
            worker = group.create_task(self.worker.run())
            group.create_task(drain())
            try:
                yield
            finally:
                stop.set()
                self.scheduler.close()
                await asyncio.wait([worker], timeout=10)
                self.results.close()


class Camera:
    """Offers a frame every `1 / rate_hz` from a thread, until it is stopped."""

    def __init__(self, node: Node, source: SourceName, mailbox: Mailbox[Frame], *, rate_hz: float) -> None:
        self._stop = threading.Event()

        def film() -> None:
            number, began_s = 0, time.monotonic()
            while not self._stop.wait(max(0.0, began_s + number / rate_hz - time.monotonic())):
                mailbox.put(Frame(source, number, node.clock.now(), np.zeros((48, 64, 3), np.uint8)))
                number += 1

        self._thread = threading.Thread(target=film, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)


def slow(seconds: float) -> FakeDetector:
    def answer(look: Look) -> Detections:
        time.sleep(seconds * look.scale**2)
        return no_detections()

    return FakeDetector(answer=answer)


def add(
    node: Node,
    source: SourceName,
    model: FakeDetector,
    *,
    priority: int,
    overflow: Overflow = "newest",
) -> Mailbox[Frame]:
    return node.scheduler.add_camera(
        source, model=model, thresholds=Thresholds(), overflow=overflow, priority=priority
    )


async def test_the_important_camera_keeps_its_rate_the_other_is_slowed_and_comes_back() -> None:
    node = Node()
    model = slow(0.03)  # 33 a second at most; the cameras give 50
    door = Camera(node, DOOR, add(node, DOOR, model, priority=6), rate_hz=25)
    yard = Camera(node, YARD, add(node, YARD, model, priority=5), rate_hz=25)
    async with node.running():
        await until(lambda: node.rung == 2, within_s=20)
        told = node.condition()
        before, began_s = node.flow(DOOR), time.monotonic()
        await until(lambda: time.monotonic() - began_s > 1.0)
        after = node.flow(DOOR)
        assert (told["status"], told["code"]) == ("degraded", "E_OVERLOAD")
        assert told["message"].startswith("rung 2 of 4, because door loses ")
        assert told["message"].endswith("of its frames to less important cameras: yard gives 1 frame of 4")
        assert (after.taken - before.taken) / (after.offered - before.offered) > 0.85
        assert "degraded" not in after.dropped
        assert node.flow(YARD).dropped["degraded"] >= 10

        door.stop()
        await until(lambda: node.rung == 0, within_s=20)
        assert (node.condition()["status"], node.message) == ("ok", "")
        slowed = node.flow(YARD)
        await until(lambda: node.flow(YARD).taken > slowed.taken + 10)
        assert node.flow(YARD).dropped["degraded"] == slowed.dropped["degraded"]
        yard.stop()
    assert node.metrics.counts["overload_changes_total direction=up"] >= 1
    assert node.metrics.counts["overload_changes_total direction=down"] >= 1
    retained = {publication.topic: publication for publication in node.announcements.birth()}
    health = json.loads(retained["edge/v1/plant/nano-1/health"].payload)
    assert health["stages"]["overload"]["status"] == "ok"


async def test_heat_rests_lanes_and_pauses_the_least_important_but_never_a_sensor_or_a_file() -> None:
    node = Node(lanes=2, dwells=replace(QUICK, down_s=0.3, longest_down_s=0.3))
    model = slow(0.002)
    door = Camera(node, DOOR, add(node, DOOR, model, priority=6), rate_hz=50)
    file = add(node, YARD, model, priority=3, overflow="wait")
    sensor = node.scheduler.add_sensor(MOTOR, model=FakeAnomalyModel(), deadline_s=2.0)
    reader = threading.Thread(
        target=lambda: all(file.put(frame(node, YARD, number)) for number in range(100_000)), daemon=True
    )
    reader.start()
    async with node.running():
        node.strain = Strain(temperature_c=97.0)
        await until(lambda: "yard is paused" in node.message, within_s=20)
        assert "because 97 °C, the limit is 85 °C" in node.message
        assert "1 of 2 lanes" in node.message
        assert "no model's file leaves its size open" in node.message
        await until(lambda: node.flow(YARD).held == 1)
        paused = node.flow(YARD).taken
        await until(lambda: node.flow(DOOR).dropped.get("degraded", 0) > 50)
        window = np.zeros((4, 1), np.float32)
        sensor.put(SensorWindow(MOTOR, node.clock.now(), node.clock.now(), window))
        await until(lambda: node.flow(MOTOR).taken == 1)
        assert node.flow(YARD).taken == paused

        node.strain = Strain(temperature_c=70.0)
        await until(lambda: node.rung == 0, within_s=20)
        await until(lambda: node.flow(YARD).taken > paused + 20)
        door.stop()
    reader.join(timeout=5)
    assert node.flow(YARD).dropped == {}
    assert node.flow(MOTOR).dropped == {}


async def test_eco_is_told_and_no_trouble() -> None:
    node = Node(lanes=2, mode="eco")
    add(node, DOOR, FakeDetector(resizable=True), priority=5)
    async with node.running():
        await until(lambda: node.rung == 5)
        assert node.condition()["status"] == "ok"
        assert node.message == (
            "rung 5 of 5, because power mode eco: door gives 1 frame of 4, "
            "inputs at 50% of their sides, 1 of 2 lanes"
        )


def frame(node: Node, source: SourceName, number: int) -> Frame:
    return Frame(source, number, node.clock.now(), np.zeros((48, 64, 3), np.uint8))


# What the rung does in the scheduler, by a clock that stands still.


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def scheduler(clock: FakeClock) -> Scheduler:
    return Scheduler(clock=clock)


def picture(source: SourceName, number: int, clock: FakeClock) -> Frame:
    return Frame(source, number, clock.now(), np.zeros((2, 2, 3), np.uint8))


def test_one_frame_in_so_many_is_served_evenly_and_the_others_are_counted(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    mailbox = scheduler.add_camera(DOOR, model=FakeDetector(), thresholds=Thresholds(), overflow="newest")
    scheduler.relieve(keep_one_of={DOOR: 4}, scale=0.5, lanes=1)
    served = []
    for number in range(12):
        mailbox.put(picture(DOOR, number, clock))
        if mailbox.statistics().held:
            job = scheduler.next_job()
            assert isinstance(job, FrameJob)
            assert job.scale == 0.5
            served.append(job.frames[0].number)

    assert served == [3, 7, 11]
    assert mailbox.statistics().dropped == {"degraded": 9}


def test_a_rate_limit_is_slowed_by_the_same_factor(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = scheduler.add_camera(
        DOOR, model=FakeDetector(), thresholds=Thresholds(), overflow="newest", fps=10.0, max_staleness_s=5
    )
    scheduler.relieve(keep_one_of={DOOR: 2}, scale=1.0, lanes=1)
    taken = 0
    for number in range(100):  # 100 a second for a second
        mailbox.put(picture(DOOR, number, clock))
        with scheduler._lock:
            taken += isinstance(scheduler._choose(clock.now().monotonic_ns)[0], FrameJob)
        clock.advance(0.01)

    assert taken == 5


def test_a_resting_lane_gets_nothing_and_works_again_when_it_is_called(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    mailbox = scheduler.add_camera(DOOR, model=FakeDetector(), thresholds=Thresholds(), overflow="newest")
    scheduler.relieve(keep_one_of={}, scale=1.0, lanes=1)
    mailbox.put(picture(DOOR, 0, clock))

    assert scheduler.next_job(1) is NoJob.IDLE
    scheduler.relieve(keep_one_of={}, scale=1.0, lanes=2)
    assert isinstance(scheduler.next_job(1), FrameJob)


def test_resting_lanes_and_paused_cameras_do_not_hold_up_the_end(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    mailbox = scheduler.add_camera(DOOR, model=FakeDetector(), thresholds=Thresholds(), overflow="wait")
    mailbox.put(picture(DOOR, 0, clock))
    scheduler.relieve(keep_one_of={DOOR: 0}, scale=1.0, lanes=1)
    assert scheduler.next_job(0) is NoJob.IDLE

    scheduler.close()

    assert isinstance(scheduler.next_job(1), FrameJob)
    assert scheduler.next_job(1) is NoJob.OVER


def test_waiting_is_counted_by_the_frame_that_waits_and_not_by_those_that_it_replaced(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    mailbox = scheduler.add_camera(DOOR, model=FakeDetector(), thresholds=Thresholds(), overflow="newest")
    for number in range(5):
        mailbox.put(picture(DOOR, number, clock))
        clock.advance(0.1)
    assert scheduler.demands()[DOOR].waited_s == pytest.approx(0.1)

    clock.advance(0.2)
    scheduler.next_job()
    clock.advance(3)

    assert scheduler.demands()[DOOR].waited_s == pytest.approx(0.3)
    assert scheduler.demands()[DOOR].waited_s == 0


def test_a_frame_that_is_dropped_for_its_age_has_waited_as_long(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    mailbox = scheduler.add_camera(
        DOOR, model=FakeDetector(), thresholds=Thresholds(), overflow="newest", max_staleness_s=0.5
    )
    mailbox.put(picture(DOOR, 0, clock))
    clock.advance(0.6)
    with scheduler._lock:
        scheduler._choose(clock.now().monotonic_ns)

    assert mailbox.statistics().dropped == {"stale": 1}
    assert scheduler.demands()[DOOR].waited_s == pytest.approx(0.6)


def looked_at(
    scheduler: Scheduler, clock: FakeClock, *, rates_hz: dict[SourceName, float], run_s: float, seconds: float
) -> tuple[int, Ladder]:
    """One lane whose model takes `run_s`, cameras of these rates, a look a second: the highest rung."""
    demands = scheduler.demands()
    priorities = {name: demand.priority for name, demand in demands.items()}
    resizable = any(demand.resizable for demand in demands.values())
    ladder = Ladder(rungs=rungs_for(priorities, lanes=1, resizable=resizable), priorities=priorities)
    pressure, highest, free_ns = Pressure(), 0, 0
    for tick in range(round(seconds * 100)):
        now_ns = clock.now().monotonic_ns
        for name, rate_hz in rates_hz.items():
            if tick % round(100 / rate_hz) == 0:
                scheduler._lines.cameras[name].mailbox.put(picture(name, tick, clock))
        if now_ns >= free_ns:
            with scheduler._lock:
                job, _ = scheduler._choose(now_ns)
            if isinstance(job, FrameJob):
                free_ns = now_ns + round(run_s * job.scale**2 * 1e9)
        if tick % 100 == 50:
            before = ladder.standing
            verdict = pressure.look(scheduler.demands(), now_ns / 1e9)
            signals = Signals(late=verdict.late, robbed=verdict.robbed, at_ease=verdict.at_ease)
            rung = ladder.step(signals, now_ns / 1e9).rung
            if ladder.standing != before:
                scheduler.relieve(keep_one_of=rung.keep_one_of, scale=rung.scale, lanes=1)
                pressure.forget()
            highest = max(highest, ladder.level)
        clock.advance(0.01)
    return highest, ladder


@pytest.mark.parametrize("resizable", [False, True])
@pytest.mark.parametrize("run_s", [0.3, 0.8, 3.0])
def test_one_camera_that_is_merely_faster_than_its_model_is_no_overload(
    scheduler: Scheduler, clock: FakeClock, run_s: float, resizable: bool
) -> None:
    model = FakeDetector(resizable=resizable)
    scheduler.add_camera(DOOR, model=model, thresholds=Thresholds(), overflow="newest")

    highest, _ = looked_at(scheduler, clock, rates_hz={DOOR: 10.0}, run_s=run_s, seconds=60)

    assert highest == 0


def test_equals_that_are_faster_than_their_model_share_it_and_give_nothing_up(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    for name in (DOOR, YARD):
        scheduler.add_camera(name, model=FakeDetector(), thresholds=Thresholds(), overflow="newest")

    highest, _ = looked_at(scheduler, clock, rates_hz={DOOR: 10.0, YARD: 10.0}, run_s=0.8, seconds=60)

    assert highest == 0
    taken = [scheduler.statistics()[name].taken for name in (DOOR, YARD)]
    assert abs(taken[0] - taken[1]) <= 1


def test_frames_that_grow_old_beside_less_important_cameras_are_relieved(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    model = FakeDetector(resizable=True)
    scheduler.add_camera(DOOR, model=model, thresholds=Thresholds(), overflow="newest", priority=6)
    scheduler.add_camera(YARD, model=model, thresholds=Thresholds(), overflow="newest", priority=5)

    highest, ladder = looked_at(scheduler, clock, rates_hz={DOOR: 1.0, YARD: 25.0}, run_s=0.95, seconds=60)

    assert highest >= 1
    assert ladder.standing.why
