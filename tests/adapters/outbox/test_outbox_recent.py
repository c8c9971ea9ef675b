"""What is handed on from memory is what the file holds, and nothing is handed on that the file has not."""

from agent.adapters.outbox.recent import Recent
from agent.adapters.outbox.rows import Placed
from agent.domain.ids import Stream
from agent.domain.stamp import Stamp
from agent.ports import Draft, Priority


def row(key: int, priority: Priority = "detection", *, size: int = 500) -> tuple[Placed, Draft]:
    draft = Draft(stream=Stream("detections/door"), priority=priority, body=b"{}", made=Stamp(0, 0))
    return Placed(key, 1, key, size), draft


def committed(*rows: tuple[Placed, Draft], before: int = 0) -> Recent:
    recent = Recent(newest_key=before)
    recent.add(rows, newest_key=max(placed.key for placed, _ in rows), committed_ns=7)
    return recent


def keys(
    recent: Recent, after: int, *, limit: int = 10, priority: Priority = "detection"
) -> list[int] | None:
    taken = recent.take(priority, after=after, limit=limit)
    return None if taken is None else [each.placed.key for each in taken]


def test_a_drain_that_keeps_up_gets_everything_once_and_in_order() -> None:
    recent = committed(row(1), row(2), row(3))
    assert keys(recent, 0, limit=2) == [1, 2]
    assert keys(recent, 2) == [3]
    assert keys(recent, 3) == []
    recent.add([row(4)], newest_key=4, committed_ns=9)
    (fourth,) = recent.take("detection", after=3, limit=10) or []
    assert (fourth.placed.key, fourth.committed_ns) == (4, 9)


def test_what_was_in_the_file_before_is_the_files_to_tell() -> None:
    recent = committed(row(11), before=10)
    assert keys(recent, 4) is None
    assert keys(recent, 10) == [11]


def test_what_was_handed_on_is_never_handed_on_again() -> None:
    recent = committed(row(1), row(2))
    assert keys(recent, 0) == [1, 2]
    assert keys(recent, 0) is None
    assert keys(recent, 1) is None


def test_one_who_begins_further_on_passes_over_the_rest() -> None:
    recent = committed(row(1), row(2), row(3))
    assert keys(recent, 2) == [3]
    assert keys(recent, 0) is None


def test_asking_for_nothing_forgets_nothing() -> None:
    recent = committed(row(1), row(2))
    assert keys(recent, 2**63 - 1) == []
    assert keys(recent, 0) == [1, 2]


def test_priorities_are_apart() -> None:
    recent = committed(row(1), row(2, "event"), row(3))
    assert keys(recent, 0) == [1, 3]
    assert keys(recent, 0, priority="event") == [2]
    assert keys(recent, 0, priority="result") == []


def test_after_a_drop_the_file_tells_what_is_left() -> None:
    recent = committed(row(1), row(2))
    recent.forget()
    assert keys(recent, 1) is None
    assert keys(recent, 2) == []
    recent.add([row(3)], newest_key=3, committed_ns=9)
    assert keys(recent, 2) == [3]


def test_a_drain_that_falls_behind_costs_no_memory() -> None:
    recent = Recent(newest_key=0)
    for key in range(1, 5_000):
        recent.add([row(key)], newest_key=key, committed_ns=key)
    assert keys(recent, 0) is None
    assert len(keys(recent, 4_999 - 100, limit=1_000) or []) == 100

    large = committed(*(row(key, size=1 << 20) for key in range(1, 6)))
    assert keys(large, 0) is None
