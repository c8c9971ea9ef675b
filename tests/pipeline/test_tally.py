"""Counts over the last minute and hour, against a slow recount."""

from hypothesis import given
from hypothesis import strategies as st

from agent.domain.fates import Fates
from agent.pipeline.tally import Tally

NS = 1_000_000_000
FATES = st.builds(Fates, *(st.integers(0, 20) for _ in Fates._fields))


def total(fates: list[Fates]) -> Fates:
    return Fates(*map(sum, zip(*fates, strict=True))) if fates else Fates()


@given(
    frames=st.lists(st.tuples(st.integers(0, 40 * NS), FATES), max_size=60), later_ns=st.integers(0, 80 * NS)
)
def test_what_is_counted_are_the_frames_of_the_span(frames: list[tuple[int, Fates]], later_ns: int) -> None:
    tally, now_ns, added = Tally(), 0, []
    for after_ns, fates in frames:
        now_ns += after_ns
        tally.add(fates, now_ns)
        added.append((now_ns, fates))
    now_ns += later_ns
    minute, hour = tally.counted("minute", now_ns), tally.counted("hour", now_ns)
    recent = [fates for at_ns, fates in added if at_ns // NS > now_ns // NS - 60]
    assert (minute.frames, minute.fates) == (len(recent), total(recent))
    lately = [fates for at_ns, fates in added if at_ns // (60 * NS) > now_ns // (60 * NS) - 60]
    assert (hour.frames, hour.fates) == (len(lately), total(lately))
    assert minute.fates.candidates == sum(map(sum, recent))


def test_asking_changes_nothing() -> None:
    tally = Tally()
    for second in range(10):
        tally.add(Fates(reported=1), second * NS)
        assert tally.counted("minute", second * NS).frames == second + 1
        assert tally.counted("minute", second * NS).frames == second + 1
