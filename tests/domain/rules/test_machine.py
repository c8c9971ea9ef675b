"""A rule's state machine: events begin and end by turns, and last as long as they have to."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.rules.machine import FLOOR_NS, Machine, Phase, Timing

S = 1_000_000_000


@dataclass(frozen=True)
class Step:
    at_ns: int
    holds: bool
    over: bool


def durations() -> st.SearchStrategy[int]:
    return st.sampled_from([0, 1, S // 4, S, 5 * S])


TIMINGS = st.builds(
    Timing,
    for_ns=durations(),
    end_for_ns=durations(),
    cool_down_ns=durations(),
    update_every_ns=st.none() | st.sampled_from([S, 3 * S]),
)


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    at_ns = 0
    made = []
    for _ in range(draw(st.integers(0, 60))):
        at_ns += draw(st.sampled_from([0, 1, S // 4, S, 2 * S]))
        made.append(Step(at_ns, draw(st.booleans()), draw(st.booleans())))
    return made


def run(timing: Timing, made: list[Step]) -> list[tuple[int, Phase]]:
    machine = Machine(timing)
    told = []
    for step in made:
        phase = machine.step(step.at_ns, holds=step.holds, over=step.over)
        if phase is not None:
            told.append((step.at_ns, phase))
    return told


@given(TIMINGS, steps())
def test_begin_and_end_alternate_and_updates_lie_between(timing: Timing, made: list[Step]) -> None:
    is_on = False
    for _at_ns, phase in run(timing, made):
        assert is_on is (phase != "begin")
        is_on = phase != "end"


@given(TIMINGS, steps())
def test_an_event_lasts_as_long_as_its_end_has_to_hold(timing: Timing, made: list[Step]) -> None:
    told = [(at_ns, phase) for at_ns, phase in run(timing, made) if phase != "update"]
    for (began_ns, begin), (ended_ns, end) in zip(told[::2], told[1::2], strict=False):
        assert (begin, end) == ("begin", "end")
        assert ended_ns - began_ns >= timing.end_for_ns


@given(TIMINGS, steps())
def test_none_begins_while_it_cools_down(timing: Timing, made: list[Step]) -> None:
    told = [(at_ns, phase) for at_ns, phase in run(timing, made) if phase != "update"]
    for (ended_ns, _end), (began_ns, _begin) in zip(told[1::2], told[2::2], strict=False):
        assert began_ns - ended_ns >= max(timing.cool_down_ns, FLOOR_NS)


def test_what_flickers_begins_once_a_second_and_what_is_held_back_is_counted() -> None:
    machine = Machine(Timing())
    told: list[tuple[int, Phase]] = []
    for step in range(200):  # 20 seconds
        holds = step % 2 == 0
        phase = machine.step(step * S // 10, holds=holds, over=not holds)
        if phase is not None:
            told.append((step, phase))
    begins = [step for step, phase in told if phase == "begin"]
    assert begins[:3] == [0, 12, 24]
    assert len(begins) == 17
    assert machine.take_held_back() == 100 - len(begins)
    assert machine.take_held_back() == 0


def test_what_holds_on_begins_when_the_second_is_over_and_not_before_its_own_time() -> None:
    machine = Machine(Timing())
    assert machine.step(0, holds=True, over=False) == "begin"
    assert machine.step(S // 10, holds=False, over=True) == "end"
    assert machine.step(S // 5, holds=True, over=False) is None
    assert machine.due_ns == S + S // 10
    assert machine.step(S + S // 10, holds=True, over=False) == "begin"
    assert machine.take_held_back() == 1


@given(TIMINGS, steps())
def test_an_event_begins_only_after_it_held_without_a_break(timing: Timing, made: list[Step]) -> None:
    for began_ns, phase in run(timing, made):
        if phase == "begin":
            before = [step for step in made if began_ns - timing.for_ns < step.at_ns < began_ns]
            assert all(step.holds and not step.over for step in before)


@given(TIMINGS, steps())
def test_updates_keep_their_distance(timing: Timing, made: list[Step]) -> None:
    last_ns = None
    for at_ns, phase in run(timing, made):
        if phase == "update":
            assert timing.update_every_ns is not None
            assert last_ns is not None
            assert at_ns - last_ns >= timing.update_every_ns
        last_ns = at_ns


@given(TIMINGS, steps())
def test_a_step_when_it_is_due_is_enough(timing: Timing, made: list[Step]) -> None:
    """Who steps only at changes and when the machine says that it is due misses nothing."""
    often, due_only = Machine(timing), Machine(timing)
    told: tuple[list[Phase | None], list[Phase | None]] = ([], [])
    before: Step | None = None
    for step in made:
        told[0].append(often.step(step.at_ns, holds=step.holds, over=step.over))
        is_due = due_only.due_ns is not None and due_only.due_ns <= step.at_ns
        changed = before is None or (step.holds, step.over) != (before.holds, before.over)
        if changed or is_due or (due_only.state == "idle" and step.holds):
            told[1].append(due_only.step(step.at_ns, holds=step.holds, over=step.over))
        else:
            told[1].append(None)
        before = step
    assert told[0] == told[1]


def test_when_and_until_together_begin_nothing() -> None:
    machine = Machine(Timing())
    assert machine.step(0, holds=True, over=True) is None
    assert machine.step(1, holds=True, over=False) == "begin"
    assert machine.step(2, holds=True, over=True) == "end"


@pytest.mark.parametrize(("ons", "phase"), [(False, None), (True, "end")])
def test_halting_ends_what_is_on_and_forgets_what_is_pending(ons: bool, phase: Phase | None) -> None:
    machine = Machine(Timing(for_ns=0 if ons else S))
    machine.step(0, holds=True, over=False)
    assert machine.halt(1) == phase
    assert not machine.is_on
    assert machine.halt(2) is None
