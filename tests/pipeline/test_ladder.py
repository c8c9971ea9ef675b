"""Which rung: a table of signals, and what holds for any signals."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.ids import SourceName
from agent.pipeline.ladder import (
    Complaint,
    Dwells,
    Ladder,
    PowerMode,
    Rung,
    Signals,
    floor_of,
    rungs_for,
)

DOOR, HALL, YARD = (SourceName(name) for name in ("door", "hall", "yard"))
THREE = {DOOR: 9, HALL: 5, YARD: 1}
DWELLS = Dwells()


def ladder(
    priorities: dict[SourceName, int] = THREE,
    *,
    lanes: int = 2,
    resizable: bool = True,
    mode: PowerMode = "full",
) -> Ladder:
    rungs = rungs_for(priorities, lanes=lanes, resizable=resizable)
    return Ladder(rungs=rungs, priorities=priorities, floor=floor_of(mode, rungs))


def late(priority: int) -> Signals:
    return Signals(late=Complaint(priority, "waits"), at_ease=False)


def robbed(priority: int) -> Signals:
    return Signals(robbed=Complaint(priority, "loses"), at_ease=False)


def hold(ladder: Ladder, signals: Signals, *, seconds: float, start_s: float = 0.0) -> float:
    """The same signals each second; the time afterwards."""
    now_s = start_s
    while now_s < start_s + seconds:
        ladder.step(signals, now_s)
        now_s += 1.0
    return now_s


def test_rungs_give_up_rate_then_size_then_lanes_then_the_least_important_camera() -> None:
    rungs = rungs_for(THREE, lanes=2, resizable=True)

    assert [rung.kind for rung in rungs] == [
        *("full", "rate", "rate", "rate", "size", "size", "lanes", "pause", "pause"),
    ]
    assert rungs[1].keep_one_of == {DOOR: 1, HALL: 1, YARD: 2}
    assert rungs[3].keep_one_of == {DOOR: 2, HALL: 4, YARD: 4}
    assert (rungs[5].scale, rungs[5].lanes, rungs[6].lanes) == (0.5, 2, 1)
    assert rungs[-1].keep_one_of == {DOOR: 2, HALL: 0, YARD: 0}


@pytest.mark.parametrize(
    ("priorities", "lanes", "resizable", "kinds"),
    [
        pytest.param({DOOR: 5}, 1, False, ["full", "rate", "rate"], id="one camera, one lane"),
        pytest.param({DOOR: 5, YARD: 5}, 1, False, ["full", "rate", "rate", "pause"], id="equals"),
        pytest.param({DOOR: 5}, 4, False, ["full", "rate", "rate", "lanes", "lanes"], id="four lanes"),
        pytest.param({}, 2, True, ["full"], id="sensors only"),
    ],
)
def test_a_rung_that_would_change_nothing_is_left_out(
    priorities: dict[SourceName, int], lanes: int, resizable: bool, kinds: list[str]
) -> None:
    assert [rung.kind for rung in rungs_for(priorities, lanes=lanes, resizable=resizable)] == kinds


@pytest.mark.parametrize(
    ("signals", "seconds", "level"),
    [
        pytest.param(Signals(), 300, 0, id="at ease"),
        pytest.param(late(9), 2, 0, id="two looks are no overload"),
        pytest.param(late(9), 3, 1, id="persisted"),
        pytest.param(late(9), 300, 8, id="the most important one waits: up to the top"),
        pytest.param(late(5), 300, 2, id="a middle one waits: rates below the highest"),
        pytest.param(late(1), 300, 1, id="the least one waits: only itself"),
        pytest.param(robbed(9), 300, 2, id="lost frames: rates of the others, and no more"),
        pytest.param(robbed(5), 300, 1, id="lost frames of a middle one"),
        pytest.param(Signals(temperature_c=84.9), 300, 0, id="warm"),
        pytest.param(Signals(temperature_c=85.0), 20, 1, id="hot: one rung, then the heat sink's turn"),
        pytest.param(Signals(temperature_c=85.0), 43, 3, id="hot for 43 s"),
        pytest.param(Signals(temperature_c=90.0), 20, 4, id="much hotter"),
        pytest.param(Signals(throttled=("cpufreq",)), 23, 2, id="throttled"),
        pytest.param(Signals(temperature_c=95.0), 300, 8, id="hot whatever is given up"),
    ],
)
def test_signals_lead_to_rungs(signals: Signals, seconds: float, level: int) -> None:
    ladder_ = ladder()
    hold(ladder_, signals, seconds=seconds)
    assert ladder_.level == level


def test_lanes_rest_for_heat_and_never_for_load() -> None:
    loaded, hot = ladder(), ladder()
    hold(loaded, late(9), seconds=300)
    hold(hot, Signals(temperature_c=95.0), seconds=300)

    assert (loaded.standing.rung.kind, loaded.standing.rung.lanes) == ("pause", 2)
    assert (hot.standing.rung.kind, hot.standing.rung.lanes) == ("pause", 1)


@pytest.mark.parametrize(
    ("resizable", "kind", "level"), [(False, "full", 0), (True, "size", 4)], ids=["fixed", "resizable"]
)
def test_a_camera_alone_whose_frames_grow_old_is_driven_to_smaller_inputs_or_nowhere(
    resizable: bool, kind: str, level: int
) -> None:
    alone = ladder({DOOR: 5}, resizable=resizable)
    hold(alone, late(5), seconds=300)
    assert (alone.standing.rung.kind, alone.level) == (kind, level)


def test_heat_reaches_every_rung_of_a_camera_alone_and_is_forgotten_whatever_its_frames_wait() -> None:
    alone = ladder({DOOR: 5}, resizable=False)
    now_s = hold(alone, Signals(temperature_c=95.0), seconds=60)
    assert alone.level == len(alone.rungs) - 1
    hold(alone, late(5), seconds=60, start_s=now_s)
    assert alone.level == 0


def test_between_the_limits_nothing_changes() -> None:
    ladder_ = ladder()
    now_s = hold(ladder_, Signals(temperature_c=86.0), seconds=30)
    before = ladder_.level
    hold(ladder_, Signals(temperature_c=82.0), seconds=600, start_s=now_s)
    assert before == ladder_.level > 0


def test_it_comes_down_rung_by_rung_after_calm() -> None:
    ladder_ = ladder()
    now_s = hold(ladder_, late(9), seconds=12)
    assert ladder_.level == 4
    levels = []
    for _ in range(70):
        levels.append(ladder_.step(Signals(), now_s).level)
        now_s += 1

    assert [levels.index(level) for level in (3, 2, 1, 0)] == [15, 30, 45, 60]
    assert ladder_.standing.why == ()


def test_a_step_down_that_has_to_be_taken_back_doubles_the_next_wait() -> None:
    ladder_ = ladder()
    now_s = hold(ladder_, late(9), seconds=3)
    waits = []
    for _ in range(6):
        began_s = now_s
        while ladder_.level == 1:
            ladder_.step(Signals(), now_s)
            now_s += 1
        waits.append(now_s - began_s)
        while ladder_.level == 0:
            ladder_.step(late(9), now_s)
            now_s += 1

    assert waits == [16, 31, 61, 121, 241, 241]


@pytest.mark.parametrize(
    ("mode", "floor", "kind"), [("full", 0, "full"), ("balanced", 1, "rate"), ("eco", 6, "lanes")]
)
def test_power_mode_is_a_floor_from_the_beginning_and_after_heat(
    mode: PowerMode, floor: int, kind: str
) -> None:
    ladder_ = ladder(mode=mode)
    assert (ladder_.level, ladder_.standing.rung.kind) == (floor, kind)
    now_s = hold(ladder_, Signals(temperature_c=99.0), seconds=60)
    assert ladder_.level > floor
    hold(ladder_, Signals(), seconds=600, start_s=now_s)
    assert (ladder_.level, ladder_.standing.rung) == (floor, ladder_.rungs[floor])


COMPLAINTS = st.none() | st.builds(Complaint, st.integers(0, 9), st.just("waits"))
SIGNALS = st.builds(
    Signals,
    late=COMPLAINTS,
    robbed=COMPLAINTS,
    at_ease=st.booleans(),
    temperature_c=st.none() | st.floats(0, 120),
    throttled=st.sampled_from([(), ("cpufreq",)]),
)
NODES = st.dictionaries(st.sampled_from([DOOR, HALL, YARD]), st.integers(0, 9), max_size=3)


def worse(a: Signals, b: Signals) -> Signals:
    """The worse of each."""

    def graver(one: Complaint | None, other: Complaint | None) -> Complaint | None:
        return max((each for each in (one, other) if each), key=lambda each: each.priority, default=None)

    hottest = max((t for t in (a.temperature_c, b.temperature_c) if t is not None), default=None)
    return Signals(
        late=graver(a.late, b.late),
        robbed=graver(a.robbed, b.robbed),
        at_ease=a.at_ease and b.at_ease,
        temperature_c=hottest,
        throttled=a.throttled or b.throttled,
    )


def served(rung: Rung) -> float:
    """Cameras' rates, added up, of what they would be without the ladder."""
    return sum(1 / share for share in rung.keep_one_of.values() if share)


@given(NODES, st.integers(1, 4), st.booleans(), st.sampled_from(["full", "balanced", "eco"]), st.data())
def test_whatever_comes_it_stays_bounded_and_never_flaps(
    priorities: dict[SourceName, int], lanes: int, resizable: bool, mode: PowerMode, data: st.DataObject
) -> None:
    ladder_ = ladder(priorities, lanes=lanes, resizable=resizable, mode=mode)
    now_s, level, changed_s = 0.0, ladder_.level, -math.inf
    for signals, seconds in data.draw(st.lists(st.tuples(SIGNALS, st.integers(1, 40)), max_size=12)):
        for _ in range(seconds):
            standing = ladder_.step(signals, now_s)
            assert standing.floor <= standing.level <= standing.top
            assert abs(standing.level - level) <= 1
            if standing.level != level:
                dwell_s = DWELLS.load_s if standing.level > level else DWELLS.down_s
                assert now_s - changed_s >= dwell_s
                level, changed_s = standing.level, now_s
            assert 1 <= standing.rung.lanes <= lanes
            assert any(standing.rung.keep_one_of.values()) or not priorities
            now_s += 1


@given(NODES, st.booleans())
def test_each_rung_does_less_than_the_one_below(priorities: dict[SourceName, int], resizable: bool) -> None:
    rungs = rungs_for(priorities, lanes=4, resizable=resizable)
    for below, above in pairwise(rungs):
        assert above != below
        assert served(above) <= served(below)
        assert above.scale <= below.scale
        assert above.lanes <= below.lanes


@given(SIGNALS, SIGNALS, st.integers(1, 120))
def test_worse_signals_never_lead_lower(a: Signals, b: Signals, seconds: int) -> None:
    milder, graver = ladder(), ladder()
    hold(milder, a, seconds=seconds)
    hold(graver, worse(a, b), seconds=seconds)
    assert graver.level >= milder.level
