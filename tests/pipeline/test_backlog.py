"""How far the outbox has been read, and which row is next."""

from agent.pipeline.backlog import Ask, Backlog
from agent.ports import Row
from tests.fakes.rows import row_of


def asked(backlog: Backlog) -> Ask:
    ask = backlog.wants()
    assert ask is not None
    return ask


def take_all(backlog: Backlog) -> list[int]:
    keys = []
    while backlog.peek() is not None:
        keys.append(backlog.take()[0].key)
    return keys


def detections(*keys: int) -> list[Row]:
    return [row_of(key) for key in keys]


def test_a_new_backlog_asks_for_everything_from_the_beginning() -> None:
    assert set(asked(Backlog(batch=4)).after.values()) == {0}


def test_a_full_answer_is_asked_on_behind_its_last_row() -> None:
    backlog = Backlog(batch=4)
    backlog.add(detections(1, 2, 3, 4), asked=asked(backlog))
    backlog.take(), backlog.take(), backlog.take()
    assert asked(backlog).after["detection"] == 4


def test_a_short_answer_means_that_there_is_no_more() -> None:
    backlog = Backlog(batch=4)
    backlog.add(detections(1), asked=asked(backlog))
    assert backlog.wants() is None
    before = backlog.exhausted
    assert take_all(backlog) == [1]
    assert (before, backlog.exhausted) == (False, True)


def test_a_commit_is_news() -> None:
    backlog = Backlog(batch=4)
    backlog.add([], asked=asked(backlog))
    before = backlog.exhausted
    backlog.expect_more()
    assert (before, backlog.exhausted) == (True, False)
    assert backlog.wants() is not None


def test_a_commit_during_a_fetch_is_not_forgotten() -> None:
    backlog = Backlog(batch=4)
    ask = asked(backlog)
    backlog.expect_more()
    backlog.add(detections(1), asked=ask)
    assert asked(backlog).after["detection"] == 1


def test_a_fetch_from_before_a_new_session_is_of_no_use() -> None:
    backlog = Backlog(batch=4)
    ask = asked(backlog)
    backlog.rewind()
    backlog.add(detections(1, 2), asked=ask)
    assert backlog.peek() is None
    assert asked(backlog).after["detection"] == 0


def test_a_priority_that_is_well_supplied_is_not_asked_for() -> None:
    backlog = Backlog(batch=4)
    backlog.add(detections(1, 2, 3, 4), asked=asked(backlog))
    after = asked(backlog).after
    assert after["detection"] > 2**62
    assert after["event"] == 0


def test_a_higher_priority_committed_later_goes_first() -> None:
    backlog = Backlog(batch=4)
    backlog.add(detections(1, 2, 3, 4), asked=asked(backlog))
    backlog.expect_more()
    backlog.add([row_of(5, "event", stream="events/crowd")], asked=asked(backlog))
    assert take_all(backlog) == [5, 1, 2, 3, 4]


def test_what_is_held_is_bounded_though_more_is_committed_all_the_time() -> None:
    backlog = Backlog(batch=8)
    newest = 0
    for _ in range(50):
        backlog.expect_more()
        while (ask := backlog.wants()) is not None:
            first = ask.after["detection"] + 1
            if first > 2**62:
                backlog.add([], asked=ask)
                continue
            newest = first + 7
            backlog.add(detections(*range(first, newest + 1)), asked=ask)
    assert len(backlog) <= 2 * 8


def test_a_new_session_begins_again_and_knows_what_was_sent_before() -> None:
    backlog = Backlog(batch=8)
    backlog.add(detections(1, 2, 3), asked=asked(backlog))
    assert [backlog.take()[1] for _ in range(2)] == [False, False]
    backlog.rewind()
    backlog.add(detections(2, 3), asked=asked(backlog))
    assert [(row.key, before) for row, before in (backlog.take(), backlog.take())] == [(2, True), (3, False)]
