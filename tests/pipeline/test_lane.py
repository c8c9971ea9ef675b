"""How far the outbox has been read, and which row is next."""

from agent.pipeline.lane import Ask, Lane
from agent.ports import Row
from tests.fakes.rows import row_of


def asked(lane: Lane) -> Ask:
    ask = lane.ask()
    assert ask is not None
    return ask


def answer(lane: Lane, *rows: Row, ask: Ask | None = None, without: tuple[int, ...] = ()) -> None:
    lane.add(rows, asked=ask or asked(lane), without=without)


def take_all(lane: Lane) -> list[int]:
    keys = []
    while lane.peek() is not None:
        keys.append(lane.take().key)
    return keys


def detections(*keys: int) -> list[Row]:
    return [row_of(key) for key in keys]


def test_a_new_lane_asks_for_everything_from_the_beginning() -> None:
    assert set(asked(Lane("live", batch=4)).after.values()) == {0}


def test_a_full_answer_is_asked_on_behind_its_last_row() -> None:
    lane = Lane("live", batch=4)
    answer(lane, *detections(1, 2, 3, 4))
    lane.take(), lane.take(), lane.take()
    assert asked(lane).after["detection"] == 4


def test_a_short_answer_means_that_there_is_no_more() -> None:
    lane = Lane("live", batch=4)
    answer(lane, *detections(1))
    assert lane.ask() is None
    before = lane.exhausted
    assert take_all(lane) == [1]
    assert (before, lane.exhausted) == (False, True)


def test_a_commit_is_news() -> None:
    lane = Lane("live", batch=4)
    answer(lane)
    before = lane.exhausted
    lane.expect_more()
    assert (before, lane.exhausted) == (True, False)
    assert lane.ask() is not None


def test_a_commit_during_a_fetch_is_not_forgotten() -> None:
    lane = Lane("live", batch=4)
    ask = asked(lane)
    lane.expect_more()
    answer(lane, *detections(1), ask=ask)
    assert asked(lane).after["detection"] == 1


def test_a_fetch_from_before_a_restart_is_of_no_use() -> None:
    lane = Lane("live", batch=4)
    ask = asked(lane)
    lane.restart(after=0)
    answer(lane, *detections(1, 2), ask=ask)
    assert lane.peek() is None
    assert asked(lane).after["detection"] == 0


def test_a_priority_that_is_well_supplied_is_not_asked_for() -> None:
    lane = Lane("live", batch=4)
    answer(lane, *detections(1, 2, 3, 4))
    after = asked(lane).after
    assert after["detection"] > 2**62
    assert after["event"] == 0


def test_a_higher_priority_committed_later_goes_first() -> None:
    lane = Lane("live", batch=4)
    answer(lane, *detections(1, 2, 3, 4))
    lane.expect_more()
    answer(lane, row_of(5, "event", stream="events/crowd"))
    assert take_all(lane) == [5, 1, 2, 3, 4]


def test_what_is_held_is_bounded_though_more_is_committed_all_the_time() -> None:
    lane = Lane("live", batch=8)
    newest = 0
    for _ in range(50):
        lane.expect_more()
        while (ask := lane.ask()) is not None:
            first = ask.after["detection"] + 1
            if first > 2**62:
                answer(lane, ask=ask)
                continue
            newest = first + 7
            answer(lane, *detections(*range(first, newest + 1)), ask=ask)
    assert len(lane) <= 2 * 8


def test_a_lane_ends_with_its_last_key_and_asks_for_no_more() -> None:
    lane = Lane("live", batch=4)
    lane.restart(after=0, upto=2)
    answer(lane, *detections(1, 2, 3, 4))
    answer(lane)
    assert lane.ask() is None
    assert take_all(lane) == [1, 2]


def test_a_lane_that_is_extended_goes_on_where_it_ended() -> None:
    lane = Lane("live", batch=4)
    lane.restart(after=0, upto=2)
    answer(lane, *detections(1, 2, 3, 4))
    answer(lane)
    assert take_all(lane) == [1, 2]
    lane.extend(4)
    assert asked(lane).after["detection"] == 2
    answer(lane, *detections(3, 4))
    assert take_all(lane) == [3, 4]


def test_a_lane_passes_what_is_on_its_way_elsewhere() -> None:
    lane = Lane("live", batch=8)
    answer(lane, *detections(1, 2, 3), without=(2,))
    assert take_all(lane) == [1, 3]
    assert lane.fetched == 3
