"""A consumer's proof that nothing is missing."""

from hypothesis import given
from hypothesis import strategies as st

from agent.contract.continuity import Continuity, StreamKey

HEAD = {"site": "plant", "node": "n1", "epoch": "01J"}
DOOR = StreamKey("plant", "n1", "01J", "detections/door")


def see(continuity: Continuity, *seqs: int) -> list[bool]:
    return [continuity.see("detections/door", HEAD | {"seq": seq}) for seq in seqs]


@given(st.lists(st.integers(0, 40), max_size=80))
def test_gaps_are_what_a_set_says_they_are(seqs: list[int]) -> None:
    continuity = Continuity()
    first_times = see(continuity, *seqs)

    assert sum(first_times) == len(set(seqs))
    assert continuity.duplicates == len(seqs) - len(set(seqs))
    named = {n for ranges in continuity.missing().values() for a, b in ranges for n in range(a, b + 1)}
    expected = set(range(min(seqs), max(seqs) + 1)) - set(seqs) if seqs else set()
    assert named == expected


def test_streams_nodes_and_epochs_count_apart() -> None:
    continuity = Continuity()
    for change in ({}, {"node": "n2"}, {"epoch": "01K"}):
        assert continuity.see("detections/door", HEAD | {"seq": 7} | change)
    assert continuity.see("telemetry/motor", HEAD | {"seq": 7})
    assert continuity.missing() == {}


def test_declared_loss_closes_its_gap_and_no_other() -> None:
    continuity = Continuity()
    see(continuity, 1, 5, 9)
    loss = {"seq": 1, "stream": "detections/door", "lost_epoch": "01J", "from": 2, "to": 4, "count": 3}
    assert continuity.see("loss", HEAD | loss)
    assert not continuity.see("loss", HEAD | loss)

    assert continuity.missing() == {DOOR: [(6, 8)]}
    assert continuity.declared_lost == 3


def test_loss_of_unknown_range_is_counted_and_closes_nothing() -> None:
    continuity = Continuity()
    see(continuity, 1, 3)
    loss = {"seq": 1, "stream": "detections/door", "lost_epoch": None, "from": None, "to": None, "count": 8}
    assert continuity.see("loss", HEAD | loss)

    assert continuity.missing() == {DOOR: [(2, 2)]}
    assert continuity.declared_lost == 8


def test_who_stores_everything_misses_what_came_before_the_first_number_seen() -> None:
    continuity = Continuity(from_start=True)
    see(continuity, 3, 4)
    assert continuity.missing() == {DOOR: [(0, 2)]}
    assert continuity.complete() == {}
    see(continuity, 0, 1)
    assert (continuity.missing(), continuity.complete()) == ({DOOR: [(2, 2)]}, {DOOR: 1})


def test_what_is_forgone_is_missed_no_longer() -> None:
    continuity = Continuity(from_start=True)
    see(continuity, 3, 6)
    continuity.forgo(DOOR, 0, 2)
    assert (continuity.missing(), continuity.complete()) == ({DOOR: [(4, 5)]}, {DOOR: 3})


@given(st.lists(st.integers(0, 40), min_size=1, max_size=80))
def test_what_is_complete_ends_where_the_first_gap_begins(seqs: list[int]) -> None:
    continuity = Continuity(from_start=True)
    see(continuity, *seqs)
    missing = [first for ranges in continuity.missing().values() for first, _last in ranges]
    upto = continuity.complete().get(DOOR, -1)
    assert upto + 1 == min(missing, default=max(seqs) + 1)
