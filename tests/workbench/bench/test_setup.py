from __future__ import annotations

from agent.workbench.bench.setup import Setup, chosen, compared, ways


def test_two_cores_are_shared_in_one_wide_lane_or_two_narrow_ones() -> None:
    assert [str(way) for way in ways(2)] == [
        "1 lane x 2",
        "1 lane x 2, no arena",
        "1 lane x 2, no spinning",
        "2 lanes x 1",
        "2 lanes x 1, no arena",
    ]


def test_one_core_has_nothing_to_share() -> None:
    assert {(way.lanes, way.threads, way.spinning) for way in ways(1)} == {(1, 1, True)}


def test_four_cores_may_also_be_shared_by_pairs() -> None:
    assert Setup(lanes=2, threads=2, spinning=False) in ways(4)


def test_comparison_has_batches_and_busy_neighbours_and_nothing_twice() -> None:
    setups = compared(2, [1, 2, 4])
    assert len(set(setups)) == len(setups)
    assert {setup.batch for setup in setups} == {1, 2, 4}
    assert {(setup.lanes, setup.spinning) for setup in setups if setup.busy} == {
        (1, True),
        (1, False),
        (2, True),
    }


def test_what_is_asked_for_is_combined() -> None:
    assert len(chosen([1, 2], [1, 4], [1, 2])) == 8
