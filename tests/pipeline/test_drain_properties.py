"""Whatever happens to a drain: nothing is lost or goes twice in a session, and the present goes first."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pipeline.lane import PRIORITIES
from agent.ports import Row
from tests.pipeline.drain_world import SECOND, World

STEPS = st.one_of(
    st.tuples(st.just("commit"), st.sampled_from(PRIORITIES), st.integers(1, 6)),
    st.tuples(st.sampled_from(["ask", "answer_fetch", "pump", "flush", "hear"])),
    st.tuples(st.just("turn")),
    st.tuples(st.just("puback"), st.integers(0, 30), st.sampled_from([0, 0, 0, 0x10, 0x80, 0x97])),
    st.tuples(st.just("wait"), st.integers(0, 3 * SECOND)),
    st.tuples(st.sampled_from(["lose_connection", "blink", "start_over", "leave_behind"])),
)


@settings(max_examples=200, deadline=None)
@given(
    window=st.integers(1, 12),
    per_s=st.sampled_from([None, 2.0, 50.0]),
    before=st.integers(0, 30),
    steps=st.lists(STEPS, min_size=20, max_size=60),
)
def test_nothing_is_lost_or_sent_twice_in_a_session_and_each_class_keeps_its_order(
    window: int, per_s: float | None, before: int, steps: list[tuple[object, ...]]
) -> None:
    world = World(window=window, per_s=per_s)
    world.commit(count=before)
    world.begin()
    for name, *arguments in steps:
        if name == "wait":
            world.now_ns += int(str(arguments[0]))
        else:
            getattr(world, str(name))(*arguments)
        world.check_session()
    world.finish()
    world.check_session()
    assert sorted(world.taken) == list(range(1, world.newest + 1))


@settings(max_examples=50, deadline=None)
@given(window=st.integers(1, 60), backlog=st.integers(50, 200), live=st.integers(20, 60))
def test_one_of_five_is_live_while_both_have_something(window: int, backlog: int, live: int) -> None:
    world = World(window=window, batch=256)
    world.commit(count=backlog)
    world.begin()
    world.commit(count=live)
    world.turn()
    while len(world.session) < backlog + live:
        world.puback()
        world.pump()
    order = [parcel.lane == "live" for parcel in world.session]
    shared = order[: 5 * min(live, backlog // 4)]
    assert all(sum(shared[place : place + 5]) == 1 for place in range(len(shared) - 4))
    assert order[0]
    assert Counter(order) == {True: live, False: backlog}


@settings(max_examples=25, deadline=None)
@given(window=st.integers(1, 60), live=st.integers(0, 20))
def test_what_is_late_and_the_backlog_take_turns(window: int, live: int) -> None:
    world = World(window=window, batch=256)
    world.commit(count=40)
    world.begin()
    world.commit(count=40)
    world.hear()
    world.leave_behind()
    world.commit(count=live)
    world.turn()
    while len(world.session) < 80 + live:
        world.puback()
        world.pump()
    past = [parcel.lane for parcel in world.session if parcel.lane != "live"]
    assert past == ["late", "backlog"] * 40


@settings(max_examples=25, deadline=None)
@given(per_s=st.sampled_from([1.0, 20.0, 500.0]), every_ms=st.integers(5, 300))
def test_no_second_has_more_backlog_than_allowed_and_live_rows_are_not_counted(
    per_s: float, every_ms: int
) -> None:
    world = World(window=20, per_s=per_s, batch=64)
    world.commit(count=400)
    world.begin()
    end_ns = world.now_ns + 3 * SECOND
    live = 0
    while world.now_ns < end_ns:
        world.commit(count=1)
        live += 1
        world.turn()
        while world.in_flight:
            world.puback()
            world.pump()
        world.flush()
        world.now_ns += every_ms * 1_000_000
    backlog = [at_ns for at_ns, parcel in world.sent_at if parcel.lane == "backlog"]
    for place, at_ns in enumerate(backlog):
        within = sum(at_ns <= other < at_ns + SECOND for other in backlog[place:])
        assert within <= max(1.0, per_s) + per_s + 1
    assert sum(parcel.lane == "live" for _, parcel in world.sent_at) == live


def test_a_backlog_whose_acknowledgements_do_not_come_leaves_places_to_the_present() -> None:
    world = World(window=20, batch=64)
    world.commit(count=100)
    world.begin()
    world.turn()
    assert len(world.in_flight) == 16
    for _ in range(10):
        world.commit()
        world.turn()
        ticket_place = next(i for i, (_, parcel) in enumerate(world.in_flight) if parcel.lane == "live")
        world.puback(ticket_place)
    assert sum(parcel.lane == "live" for parcel in world.session) == 10


def live_ages_s(*, made_per_s: int, line_per_s: int, backlog: int, seconds: int) -> list[float]:
    """How old each live row was when the broker had it, over a line that carries so many rows a second."""
    world = World(window=20, batch=128)
    world.commit(count=backlog)
    world.now_ns += 600 * SECOND
    world.begin()
    step_ns = SECOND // line_per_s
    end_ns, next_ns, ages_s = world.now_ns + seconds * SECOND, world.now_ns, []
    while world.now_ns < end_ns:
        while next_ns <= world.now_ns:
            world.commit()
            next_ns += SECOND // made_per_s
        world.hear()
        world.turn()
        _ticket, parcel = world.in_flight[0]
        world.now_ns += step_ns
        world.puback()
        world.flush()
        if parcel.lane == "live" and isinstance(parcel.item, Row):
            ages_s.append((world.now_ns - parcel.item.committed_ns) / SECOND)
    return ages_s


def test_what_is_new_is_there_within_two_seconds_on_a_line_that_is_slower_than_what_is_made() -> None:
    """Thirty rows a second are made, twenty pass; an hour's backlog is before them."""
    ages_s = live_ages_s(made_per_s=30, line_per_s=20, backlog=2_000, seconds=60)
    assert max(ages_s) < 2.0
    assert len(ages_s) > 60 * 20 / 5 * 0.9


def test_what_is_new_is_there_at_once_on_a_line_that_is_fast_enough() -> None:
    ages_s = live_ages_s(made_per_s=30, line_per_s=400, backlog=20_000, seconds=20)
    assert max(ages_s) < 0.5
    assert len(ages_s) >= 20 * 30 - 5
