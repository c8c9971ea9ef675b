"""Schedules: no drift, no bursts after a stall, and an end to every wait."""

import math
import threading

from agent.adapters.pacing import Pacer, machine_now
from tests.fakes.schedule import SteppedTime
from tests.polling import until_blocking


def test_first_moment_is_due_at_once_and_later_ones_at_their_distance() -> None:
    time = SteppedTime()
    pacer = time.pacer()
    assert all(pacer.wait_until(due_s) for due_s in (5.0, 5.1, 5.5))
    assert time.waits == [0.1, 0.4]


def test_schedule_does_not_drift_with_the_work_between_waits() -> None:
    time = SteppedTime()
    pacer = time.pacer()
    for number in range(1000):
        pacer.wait_until(number * 0.1)
        time.now_s += 0.03
    assert math.isclose(time.now_s, 1000.0 + 99.9 + 0.03, abs_tol=1e-6)


def test_small_lateness_is_caught_up() -> None:
    time = SteppedTime()
    pacer = time.pacer()
    pacer.wait_until(0.0)
    time.now_s += 0.35
    for number in range(1, 6):
        assert pacer.wait_until(number * 0.1)
    assert time.waits == [0.05, 0.1]


def test_schedule_moves_after_a_stall_instead_of_a_burst() -> None:
    time = SteppedTime()
    pacer = time.pacer(most_late_s=1.0)
    pacer.wait_until(0.0)
    time.now_s += 60
    for number in range(1, 4):
        assert pacer.wait_until(number * 0.1)
    assert time.waits == [0.1, 0.1]


def test_what_must_not_lack_is_caught_up_however_late() -> None:
    time = SteppedTime()
    pacer = time.pacer(most_late_s=math.inf)
    pacer.wait_until(0.0)
    time.now_s += 60
    assert all(pacer.wait_until(number * 0.1) for number in range(1, 601))
    assert time.waits == []


def test_restarted_schedule_begins_with_the_next_wait() -> None:
    time = SteppedTime()
    pacer = time.pacer()
    pacer.wait_until(100.0)
    time.now_s += 50
    pacer.restart()
    assert pacer.wait_until(0.0)
    assert pacer.wait_until(0.2)
    assert time.waits == [0.2]


def test_interrupt_ends_this_wait_and_the_later_ones() -> None:
    pacer = Pacer()
    pacer.wait_until(0.0)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(pacer.wait_until(3600.0)), daemon=True)
    thread.start()
    pacer.interrupt()
    until_blocking(lambda: bool(answers))
    thread.join(10)

    assert answers == [False]
    assert pacer.interrupted
    assert not pacer.wait_until(7200.0)


def test_machine_has_both_times() -> None:
    first, second = machine_now(), machine_now()
    assert first.monotonic_ns <= second.monotonic_ns
    assert first.wall_ns > 1_600_000_000_000_000_000
