"""Which frame is served next, and what happens to the others."""

import threading
from collections import Counter

import numpy as np
import pytest

from agent.domain.frame import Frame
from agent.domain.ids import SourceName
from agent.domain.reading import SensorWindow
from agent.domain.thresholds import Thresholds
from agent.pipeline.mailbox import Mailbox
from agent.pipeline.scheduler import FrameJob, NoJob, Scheduler, WindowJob
from tests.fakes.clock import FakeClock
from tests.fakes.models import FakeAnomalyModel, FakeDetector

DOOR, YARD, HALL, MOTOR = (SourceName(name) for name in ("door", "yard", "hall", "motor"))


def frame_of(source: SourceName, number: int, clock: FakeClock) -> Frame:
    return Frame(source, number, clock.now(), np.zeros((2, 2, 3), np.uint8))


def window_of(source: SourceName, clock: FakeClock) -> SensorWindow:
    return SensorWindow(source, clock.now(), clock.now(), np.zeros((4, 1), np.float32))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def scheduler(clock: FakeClock) -> Scheduler:
    return Scheduler(clock=clock)


def add(
    scheduler: Scheduler, source: SourceName, model: FakeDetector | None, **kwargs: object
) -> Mailbox[Frame]:
    options = {"overflow": "newest", "thresholds": Thresholds(), **kwargs}
    return scheduler.add_camera(source, model=model, **options)  # type: ignore[arg-type]


def take_frame(scheduler: Scheduler) -> Frame:
    job = scheduler.next_job()
    assert isinstance(job, FrameJob)
    return job.frames[0]


def test_newest_mailbox_replaces_the_held_frame_and_counts_it(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = add(scheduler, DOOR, FakeDetector())
    for number in range(3):
        assert mailbox.put(frame_of(DOOR, number, clock))

    assert take_frame(scheduler).number == 2
    statistics = mailbox.statistics()
    assert (statistics.offered, statistics.taken, statistics.held) == (3, 1, 0)
    assert statistics.dropped == {"replaced": 2}


def test_waiting_mailbox_loses_nothing_and_keeps_the_order(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = add(scheduler, DOOR, FakeDetector(), overflow="wait")
    frames = [frame_of(DOOR, number, clock) for number in range(20)]
    feeder = threading.Thread(target=lambda: [mailbox.put(frame) for frame in frames])
    feeder.start()

    clock.advance(100)  # far older than any staleness budget: a waiting mailbox has none
    taken = [take_frame(scheduler).number for _ in frames]

    feeder.join(timeout=5)
    assert taken == list(range(20))
    assert mailbox.statistics().dropped == {}


def test_closing_frees_a_waiting_capture_thread_and_refuses_its_frame(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    mailbox = add(scheduler, DOOR, FakeDetector(), overflow="wait")
    assert mailbox.put(frame_of(DOOR, 0, clock))
    answers: list[bool] = []
    feeder = threading.Thread(target=lambda: answers.append(mailbox.put(frame_of(DOOR, 1, clock))))
    feeder.start()

    scheduler.close()
    feeder.join(timeout=5)

    assert answers == [False]
    assert take_frame(scheduler).number == 0
    assert scheduler.next_job() is NoJob.OVER
    assert mailbox.statistics().offered == 1


def test_stale_frame_is_dropped_and_counted(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = add(scheduler, DOOR, FakeDetector(), max_staleness_s=0.5)
    mailbox.put(frame_of(DOOR, 0, clock))
    clock.advance(0.6)
    scheduler.close()

    assert scheduler.next_job() is NoJob.OVER
    assert mailbox.statistics().dropped == {"stale": 1}


@pytest.mark.parametrize(
    ("priorities", "shares"),
    [((5, 5, 5), (20, 20, 20)), ((0, 0, 3), (10, 10, 40)), ((9, 0, 0), (50, 5, 5))],
)
def test_service_is_shared_by_weight_and_nobody_starves(
    scheduler: Scheduler, clock: FakeClock, priorities: tuple[int, ...], shares: tuple[int, ...]
) -> None:
    model = FakeDetector()
    sources = (DOOR, YARD, HALL)
    mailboxes = [
        add(scheduler, source, model, priority=priority)
        for source, priority in zip(sources, priorities, strict=True)
    ]
    served: Counter[SourceName] = Counter()
    for number in range(60):
        for source, mailbox in zip(sources, mailboxes, strict=True):
            mailbox.put(frame_of(source, number, clock))
        served[take_frame(scheduler).source] += 1

    for source, share in zip(sources, shares, strict=True):
        assert abs(served[source] - share) <= 1


def test_source_that_was_away_does_not_get_its_absence_back(scheduler: Scheduler, clock: FakeClock) -> None:
    model = FakeDetector()
    door, yard = add(scheduler, DOOR, model), add(scheduler, YARD, model)
    for number in range(50):
        door.put(frame_of(DOOR, number, clock))
        take_frame(scheduler)

    served = []
    for number in range(10):
        door.put(frame_of(DOOR, number, clock))
        yard.put(frame_of(YARD, number, clock))
        served.append(take_frame(scheduler).source)
    assert served.count(YARD) in {5, 6}


def test_batch_gathers_one_frame_of_each_camera_of_the_same_model(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    people, parts = FakeDetector("people", max_batch=2), FakeDetector("parts", max_batch=2)
    boxes = [add(scheduler, DOOR, people), add(scheduler, HALL, parts), add(scheduler, YARD, people)]
    for source, mailbox in zip((DOOR, HALL, YARD), boxes, strict=True):
        mailbox.put(frame_of(source, 0, clock))

    first, second = scheduler.next_job(), scheduler.next_job()

    assert isinstance(first, FrameJob)
    assert isinstance(second, FrameJob)
    assert [frame.source for frame in first.frames] == [DOOR, YARD]
    assert first.model is people
    assert [frame.source for frame in second.frames] == [HALL]


def test_rate_limit_serves_a_camera_only_when_it_is_due(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = add(scheduler, DOOR, FakeDetector(), fps=10.0, max_staleness_s=5.0)
    served_at_ms = []
    for step in range(100):
        mailbox.put(frame_of(DOOR, step, clock))
        before = mailbox.statistics().taken
        if isinstance(_without_waiting(scheduler), FrameJob):
            served_at_ms.append(step * 10)
        assert mailbox.statistics().taken - before in {0, 1}
        clock.advance(0.01)

    assert served_at_ms == list(range(0, 1000, 100))


def test_a_rate_that_is_asked_for_takes_the_place_of_the_cameras_own_and_goes_again(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    mailbox = add(scheduler, DOOR, FakeDetector(), fps=2.0, max_staleness_s=5.0)

    def served_in_a_second() -> int:
        before = mailbox.statistics().taken
        for step in range(100):
            mailbox.put(frame_of(DOOR, step, clock))
            _without_waiting(scheduler)
            clock.advance(0.01)
        return mailbox.statistics().taken - before

    rates = [served_in_a_second()]
    scheduler.ask_rates({DOOR: 10.0, YARD: 5.0})
    rates.append(served_in_a_second())
    scheduler.ask_rates({})
    rates.append(served_in_a_second())
    assert rates == [2, 10, 2]


def test_a_camera_that_is_opened_anew_keeps_the_rate_that_is_asked_for(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    scheduler.ask_rates({DOOR: 10.0})
    mailbox = add(scheduler, DOOR, FakeDetector(), fps=2.0)
    for step in range(100):
        mailbox.put(frame_of(DOOR, step, clock))
        _without_waiting(scheduler)
        clock.advance(0.01)
    assert mailbox.statistics().taken == 10


def _without_waiting(scheduler: Scheduler) -> object:
    with scheduler._lock:
        job, _due = scheduler._choose(scheduler._clock.now().monotonic_ns)
    return job


def test_sensor_window_goes_before_frames_and_the_earliest_deadline_first(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    door = add(scheduler, DOOR, FakeDetector())
    slow = scheduler.add_sensor(MOTOR, model=FakeAnomalyModel("slow"), deadline_s=5.0)
    quick = scheduler.add_sensor(SourceName("pump"), model=FakeAnomalyModel("quick"), deadline_s=1.0)
    door.put(frame_of(DOOR, 0, clock))
    slow.put(window_of(MOTOR, clock))
    quick.put(window_of(SourceName("pump"), clock))

    jobs = [scheduler.next_job() for _ in range(3)]

    assert [job.model.facts.name for job in jobs if isinstance(job, WindowJob)] == ["quick", "slow"]
    assert isinstance(jobs[2], FrameJob)


def test_window_past_its_deadline_is_dropped_as_stale(scheduler: Scheduler, clock: FakeClock) -> None:
    motor = scheduler.add_sensor(MOTOR, model=FakeAnomalyModel(), deadline_s=1.0)
    motor.put(window_of(MOTOR, clock))
    clock.advance(1.5)
    scheduler.close()

    assert scheduler.next_job() is NoJob.OVER
    assert motor.statistics().dropped == {"stale": 1}


def test_spoilt_job_counts_as_unhealthy_and_not_as_taken(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = add(scheduler, DOOR, FakeDetector())
    mailbox.put(frame_of(DOOR, 0, clock))
    job = scheduler.next_job()
    assert isinstance(job, FrameJob)

    scheduler.spoil(job)

    statistics = mailbox.statistics()
    assert (statistics.offered, statistics.taken, statistics.dropped) == (1, 0, {"unhealthy": 1})


def test_camera_without_a_model_is_paused_and_says_so(scheduler: Scheduler, clock: FakeClock) -> None:
    mailbox = add(scheduler, DOOR, None)
    mailbox.put(frame_of(DOOR, 0, clock))
    scheduler.close()

    assert scheduler.next_job() is NoJob.OVER
    assert mailbox.statistics().dropped == {"paused": 1}


def test_replaced_model_gets_what_is_held_and_leaves_what_was_taken_to_the_old_one(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    old, new, other = FakeDetector("people"), FakeDetector("people"), FakeDetector("parts")
    door = add(scheduler, DOOR, old, overflow="wait", thresholds=Thresholds(confidence=0.3))
    yard = add(scheduler, YARD, old, overflow="wait", thresholds=Thresholds(confidence=0.4))
    hall = add(scheduler, HALL, other, overflow="wait")
    door.put(frame_of(DOOR, 0, clock))
    taken = scheduler.next_job()
    for source, mailbox in ((DOOR, door), (YARD, yard), (HALL, hall)):
        mailbox.put(frame_of(source, 1, clock))

    scheduler.replace_model(old, new, thresholds={DOOR: Thresholds(confidence=0.9)})

    assert isinstance(taken, FrameJob)
    assert taken.model is old
    jobs = [job for job in (scheduler.next_job() for _ in range(3)) if isinstance(job, FrameJob)]
    served = {job.frames[0].source: (job.model, job.thresholds[0].confidence) for job in jobs}
    assert served == {DOOR: (new, 0.9), YARD: (new, 0.4), HALL: (other, 0.25)}


def test_replaced_model_of_a_sensor_gets_the_window_that_waits(
    scheduler: Scheduler, clock: FakeClock
) -> None:
    old, new = FakeAnomalyModel(), FakeAnomalyModel()
    motor = scheduler.add_sensor(MOTOR, model=old, deadline_s=1.0)
    motor.put(window_of(MOTOR, clock))

    scheduler.replace_model(old, new, thresholds={})

    job = scheduler.next_job()
    assert isinstance(job, WindowJob)
    assert job.model is new
