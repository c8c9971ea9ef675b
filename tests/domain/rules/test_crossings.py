"""Crossings are counted as if each were looked at, though none is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain.rules.crossings import MOST_WITHIN_S, STEP_S, Crossings
from agent.domain.scene import Crossing, Direction

S = 1_000_000_000
HOUR_NS = int(MOST_WITHIN_S * S)
KINDS = st.tuples(
    st.sampled_from(["gate", "dock"]),
    st.sampled_from(["person", "car"]),
    st.sampled_from(["forward", "backward"]),
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 1.0, 600.0, 1900.0]), KINDS), max_size=60),
    st.sampled_from([0.1, 1.0, 700.0, MOST_WITHIN_S]),
    st.sampled_from([None, "person"]),
    st.sampled_from([None, "forward"]),
)
def test_counts_are_those_of_all_that_crossed_in_the_window(
    steps: list[tuple[float, tuple[str, str, Direction]]],
    within_s: float,
    class_name: str | None,
    direction: Direction | None,
) -> None:
    crossings, seen, now_ns = Crossings(), [], 0
    for after_s, (line, who, way) in steps:
        now_ns += int(after_s * S)
        crossings.add([Crossing(line, who, 1, way)], now_ns)
        seen.append((now_ns, line, who, way))
        since_ns = now_ns - int(within_s * S)
        wanted = sum(
            at_ns >= since_ns and one == "gate" and class_name in (None, kind) and direction in (None, going)
            for at_ns, one, kind, going in seen
        )
        assert crossings.count("gate", class_name, direction, since_ns=since_ns) == wanted


def test_what_crosses_within_a_step_is_one_moment_and_counts_until_the_last_of_it_is_too_old() -> None:
    crossings = Crossings()
    step_ns = int(STEP_S * S)
    for at_ns in (S, S + step_ns // 2, S + step_ns - 1, S + step_ns):
        crossings.add([Crossing("gate", "person", 1, "forward")] * 2, at_ns)
    counted = [
        crossings.count("gate", None, None, since_ns=since_ns)
        for since_ns in (S, S + step_ns - 1, S + step_ns, S + step_ns + 1)
    ]
    assert counted == [8, 8, 2, 0]


def test_memory_is_that_of_an_hour_however_long_a_line_is_crossed() -> None:
    crossings = Crossings()
    one = [Crossing("gate", "person", 1, "forward")]
    for step in range(20_000):
        crossings.add(one, step * S)
    assert crossings.count("gate", None, None, since_ns=19_999 * S - HOUR_NS) == 3601
    assert all(len(tally._moments_ns) <= 2 * 3602 for tally in crossings._tallies.values())
