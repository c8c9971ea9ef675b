"""Rules on made-up scenes, readings and conditions; conditions are plain functions here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import time
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agent.domain.errors import Code, RefusedError
from agent.domain.ids import SourceName
from agent.domain.reading import Quality, Reading, Score
from agent.domain.rules.course import PATIENCE_NS, Change
from agent.domain.rules.engine import Begun, Engine
from agent.domain.rules.features import (
    AgeOf,
    Count,
    Crossed,
    Dwell,
    Feature,
    HealthOf,
    IsAnomalous,
    LastReading,
    LastScore,
    Scalar,
)
from agent.domain.rules.knowledge import SILENT_AFTER_S, Silence
from agent.domain.rules.machine import Timing
from agent.domain.rules.prepared import Condition, PreparedRule, RuleBook
from agent.domain.rules.schedule import Schedule
from agent.domain.scene import Crossing, Scene, Sighting
from agent.domain.stamp import Stamp

DOOR, YARD, MOTOR = SourceName("door"), SourceName("yard"), SourceName("motor")
PEOPLE = Count((DOOR,), "person")


def at(seconds: float) -> Stamp:
    return Stamp(1_700_000_000_000_000_000 + int(seconds * 1e9), 100_000_000_000 + int(seconds * 1e9))


def asks(feature: Feature, holds: Callable[[Any], bool]) -> Condition:
    def expression(values: Mapping[str, Scalar]) -> bool:
        if "v0" not in values:
            raise RefusedError("v0 is not known", code=Code.SCHEMA)
        return holds(values["v0"])

    return Condition(expression, {"v0": feature}, {"v0": "what was asked"})


def rule(
    when: Condition,
    *,
    name: str = "r",
    identity: str = "1",
    until: Condition | None = None,
    schedule: Schedule | None = None,
    **seconds: float,
) -> PreparedRule:
    timing = Timing(**{key.replace("_s", "_ns"): int(each * 1e9) for key, each in seconds.items()})
    return PreparedRule(
        name=name,
        identity=identity,
        when=when,
        until=until,
        timing=timing,
        schedule=schedule,
    )


def book(*rules: PreparedRule) -> RuleBook:
    return RuleBook({each.name: each for each in rules}, frozenset({DOOR, YARD, MOTOR}))


def engine_with(*rules: PreparedRule) -> Engine:
    names = count(1)
    engine = Engine(now=at(0), new_id=lambda: f"e{next(names)}")
    assert engine.adopt(book(*rules), at(0)) == []
    return engine


def person(**rest: Any) -> Sighting:
    return Sighting("person", rest.pop("confidence", 0.9), (0, 0, 1, 1), **rest)


def scene(
    seconds: float, *objects: Sighting, source: SourceName = DOOR, crossings: tuple[Crossing, ...] = ()
) -> Scene:
    return Scene(source, at(seconds), objects, crossings)


def see(engine: Engine, seconds: float, *objects: Sighting, **rest: Any) -> list[Change]:
    return engine.on_scene(scene(seconds, *objects, **rest), at(seconds))


def phases(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.rule, change.phase) for change in changes]


def answer(feature: Feature, engine: Engine, seconds: float) -> Scalar | None:
    return feature.answer(engine._known, at(seconds).monotonic_ns)


def test_an_event_begins_with_the_frame_that_shows_it_and_ends_with_the_one_that_does_not() -> None:
    engine = engine_with(rule(asks(PEOPLE, lambda people: people >= 2)))
    assert see(engine, 1, person()) == []
    (begin,) = see(engine, 2, person(), person())
    assert (begin.phase, begin.event, begin.began, begin.at) == ("begin", "e1", at(2), at(2))
    assert begin.values == {"what was asked": 2.0}
    assert begin.evidence == {DOOR: (at(2), at(2))}
    assert see(engine, 3, person(), person()) == []
    (end,) = see(engine, 4, person())
    assert (end.phase, end.event, end.began, end.ended, end.reason) == ("end", "e1", at(2), at(4), "over")
    assert end.evidence == {DOOR: (at(2), at(4))}


def test_what_holds_only_for_a_while_begins_nothing() -> None:
    engine = engine_with(rule(asks(PEOPLE, lambda people: people > 0), for_s=2))
    assert see(engine, 1, person()) == []
    assert engine.tick(at(2.75)) == []
    assert see(engine, 2.8) == []
    assert see(engine, 3, person()) == []
    (begin,) = engine.tick(at(5))
    assert (begin.phase, begin.began, begin.at) == ("begin", at(3), at(5))


def test_hysteresis_ends_an_event_by_a_condition_of_its_own() -> None:
    hot = LastReading(MOTOR, "temperature")
    engine = engine_with(rule(asks(hot, lambda value: value > 80), until=asks(hot, lambda value: value < 75)))

    def warm(seconds: float, value: float) -> list[Change]:
        reading = Reading("temperature", value, "°C", at(seconds))
        return engine.on_readings(MOTOR, [reading], at(seconds))

    assert phases(warm(1, 81)) == [("r", "begin")]
    assert warm(2, 78) == []
    assert warm(3, 85) == []
    assert phases(warm(4, 74)) == [("r", "end")]


def test_every_reading_of_a_message_counts() -> None:
    engine = engine_with(rule(asks(LastReading(MOTOR, "x"), lambda value: value > 1)))
    readings = [Reading("x", value, "g", at(1 + step / 10)) for step, value in enumerate((0, 2, 0))]
    assert phases(engine.on_readings(MOTOR, readings, at(1.5))) == [("r", "begin"), ("r", "end")]


def test_a_rule_does_not_hold_while_nothing_is_known_and_does_not_hold_any_more_in_silence() -> None:
    engine = engine_with(rule(asks(PEOPLE, lambda people: people < 2)))
    assert engine.tick(at(1)) == []
    assert phases(see(engine, 2)) == [("r", "begin")]
    assert engine.tick(at(2 + SILENT_AFTER_S - 1)) == []
    (end,) = engine.tick(at(2 + SILENT_AFTER_S + 1))
    assert (end.phase, end.values) == ("end", {"what was asked": None})
    assert engine.troubles == {}


def test_a_fault_in_a_condition_is_told_by_the_name_of_its_rule_and_hurts_no_other() -> None:
    def faulty(_value: float) -> bool:
        raise RefusedError("it divides by zero", code=Code.SCHEMA)

    engine = engine_with(
        rule(asks(PEOPLE, faulty), name="bad"), rule(asks(PEOPLE, lambda people: people > 0), name="good")
    )
    assert phases(see(engine, 1, person())) == [("good", "begin")]
    assert engine.troubles == {"bad": "it divides by zero"}


def test_hours_end_an_event_at_once_and_let_it_begin_when_they_come() -> None:
    # at(0) is 22:13:20 UTC.
    hours = Schedule(frozenset(range(7)), time(22, 14), time(22, 15), ZoneInfo("UTC"))
    engine = engine_with(rule(asks(PEOPLE, lambda people: people > 0), schedule=hours, end_for_s=600))
    assert see(engine, 39, person()) == []
    (begin,) = engine.tick(at(40))
    assert (begin.phase, begin.began) == ("begin", at(40))
    assert see(engine, 99, person()) == []
    (end,) = engine.tick(at(100))
    assert (end.phase, end.reason, end.ended) == ("end", "schedule", at(100))
    assert see(engine, 101, person(), person()) == []


def test_a_rule_that_stays_keeps_its_event_and_one_that_changes_ends_it() -> None:
    holds = asks(PEOPLE, lambda people: people > 0)
    engine = engine_with(rule(holds, name="same"), rule(holds, name="other"), rule(holds, name="gone"))
    see(engine, 1, person())
    changes = engine.adopt(book(rule(holds, name="same"), rule(holds, name="other", identity="2")), at(2))
    ended = [(change.rule, change.reason) for change in changes if change.phase == "end"]
    assert ended == [("other", "removed"), ("gone", "removed")]
    assert phases([change for change in changes if change.phase == "begin"]) == [("other", "begin")]
    ends = see(engine, 3)
    assert {(change.rule, change.event, change.began) for change in ends} == {
        ("same", "e1", at(1)),
        ("other", "e4", at(2)),
    }


def test_an_event_of_a_former_process_goes_on_and_waits_for_its_sources() -> None:
    names = count(1)
    engine = Engine(now=at(0), new_id=lambda: f"e{next(names)}")
    began = Stamp(at(-500).wall_ns, 0)
    begun = {"r": Begun("old", "1", began), "gone": Begun("lost", "1", began)}
    changes = engine.adopt(book(rule(asks(PEOPLE, lambda people: people > 0))), at(0), begun)
    assert [(each.rule, each.phase, each.event, each.reason) for each in changes] == [
        ("r", "update", "old", None),
        ("gone", "end", "lost", "removed"),
    ]
    assert engine.tick(at(5)) == []
    assert see(engine, 10, person()) == []
    (end,) = see(engine, 11)
    assert (end.event, end.began) == ("old", began)


STAYS = Dwell((DOOR,), "hall", "person")


@pytest.mark.parametrize(
    "until", [None, asks(STAYS, lambda stood_s: stood_s == 0)], ids=["without until", "until"]
)
def test_a_restart_does_not_end_an_event_whose_tracks_have_begun_anew(until: Condition | None) -> None:
    engine = Engine(now=at(0), new_id=lambda: "new")
    began = Stamp(at(-500).wall_ns, 0)
    engine.adopt(
        book(rule(asks(STAYS, lambda stood_s: stood_s > 30), until=until)),
        at(0),
        {"r": Begun("old", "1", began)},
    )
    assert see(engine, 1) == []  # a camera that shows only what is confirmed
    for seconds in range(2, 40):
        assert see(engine, seconds, person(zones={"hall": at(2).monotonic_ns})) == []
    (end,) = see(engine, 40)
    assert (end.phase, end.event, end.began) == ("end", "old", began)


def test_an_event_of_a_former_process_that_is_not_confirmed_ends_after_a_minute() -> None:
    engine = Engine(now=at(0), new_id=lambda: "new")
    engine.adopt(book(rule(asks(PEOPLE, lambda people: people > 0))), at(0), {"r": Begun("old", "1", at(-5))})
    assert see(engine, 1) == []
    assert phases(engine.tick(at(PATIENCE_NS / 1e9))) == [("r", "end")]


def test_the_age_of_a_source_counts_from_when_it_was_added() -> None:
    engine = engine_with()
    without, both = RuleBook({}, frozenset({DOOR})), RuleBook({}, frozenset({DOOR, YARD}))
    engine.adopt(without, at(1))
    engine.adopt(both, at(3600))
    assert answer(AgeOf(YARD), engine, 3605) == 5.0
    engine.adopt(without, at(3610))
    engine.adopt(both, at(3620))
    assert answer(AgeOf(YARD), engine, 3621) == 1.0
    assert answer(AgeOf(DOOR), engine, 3621) == 3621.0


def test_an_event_of_a_former_process_ends_if_nothing_is_ever_known_again() -> None:
    engine = Engine(now=at(0), new_id=lambda: "new")
    begun = {"r": Begun("old", "1", at(-5))}
    engine.adopt(book(rule(asks(PEOPLE, lambda people: people > 0))), at(0), begun)
    assert engine.tick(at(PATIENCE_NS / 1e9 - 1)) == []
    assert phases(engine.tick(at(PATIENCE_NS / 1e9))) == [("r", "end")]


def test_updates_come_as_often_as_they_are_wanted() -> None:
    engine = engine_with(rule(asks(PEOPLE, lambda people: people > 0), update_every_s=10))
    see(engine, 0, person())
    told = []
    for step in range(1, 120):
        see(engine, step / 4, person())
        told += phases(engine.tick(at(step / 4)))
    assert told == [("r", "update")] * 2


COUNTED = (
    person(zones={"hall": at(0).monotonic_ns}, confidence=0.5),
    person(moves=False),
    Sighting("car", 0.8, (0, 0, 1, 1), zones={"hall": at(-3).monotonic_ns}),
)


@pytest.mark.parametrize(
    ("feature", "wanted"),
    [
        (Count((DOOR, YARD)), 3.0),
        (Count((DOOR,), "person"), 2.0),
        (Count((DOOR,), "person", zone="hall"), 1.0),
        (Count((DOOR,), min_confidence=0.8), 2.0),
        (Count((DOOR,), moving=False), 1.0),
        (Count((YARD,)), None),
        (Dwell((DOOR,), "hall"), 4.0),
        (Dwell((DOOR,), "hall", "person"), 1.0),
        (Dwell((DOOR,), "yard"), 0.0),
        (AgeOf(DOOR), 0.0),
        (AgeOf(YARD), 1.0),
        (HealthOf(DOOR), None),
    ],
)
def test_answers_about_a_scene(feature: Feature, wanted: Scalar | None) -> None:
    engine = engine_with()
    see(engine, 1, *COUNTED)
    assert answer(feature, engine, 1) == wanted


def test_crossings_count_for_as_long_as_was_asked() -> None:
    engine = engine_with()
    see(engine, 1, crossings=(Crossing("gate", "person", 1, "forward"),))
    see(engine, 2, crossings=(Crossing("gate", "car", 2, "backward"), Crossing("other", "car", 2, "forward")))
    see(engine, 3)
    assert answer(Crossed((DOOR,), "gate", within_ns=int(3e9)), engine, 3) == 2.0
    assert answer(Crossed((DOOR,), "gate", within_ns=int(1.5e9)), engine, 3) == 1.0
    assert answer(Crossed((DOOR,), "gate", "car", "forward", int(3e9)), engine, 3) == 0.0
    assert answer(Crossed((DOOR,), "gate", within_ns=int(1.5e9)), engine, 3.6) == 0.0


def test_a_line_is_counted_whatever_goes_on_at_another_and_however_often_it_is_crossed() -> None:
    engine = engine_with()
    see(engine, 1, crossings=(Crossing("quiet", "person", 1, "forward"),))
    busy = (Crossing("busy", "car", 2, "forward"), Crossing("busy", "dog", 3, "backward"))
    for step in range(5000):
        see(engine, 2 + step / 10, crossings=busy)
    hour_ns = int(3600e9)
    assert answer(Crossed((DOOR,), "quiet", within_ns=hour_ns), engine, 502) == 1.0
    assert answer(Crossed((DOOR,), "busy", within_ns=hour_ns), engine, 502) == 10_000.0
    assert answer(Crossed((DOOR,), "busy", "dog", within_ns=hour_ns), engine, 502) == 5_000.0
    assert answer(Crossed((DOOR,), "busy", None, "forward", int(10e9)), engine, 501.9) == 101.0


@pytest.mark.parametrize(("quality", "value", "wanted"), [("bad", 5.0, 1.0), ("good", float("nan"), 1.0)])
def test_readings_that_are_no_good_leave_the_one_before(
    quality: Quality, value: float, wanted: float
) -> None:
    engine = engine_with()
    engine.on_readings(MOTOR, [Reading("x", 1.0, "g", at(1))], at(1))
    engine.on_readings(MOTOR, [Reading("x", value, "g", at(2), quality)], at(2))
    assert answer(LastReading(MOTOR, "x"), engine, 2) == wanted
    assert answer(AgeOf(MOTOR), engine, 4) == 2.0


def test_scores_and_conditions_are_known() -> None:
    engine = engine_with()
    engine.on_score(MOTOR, Score("m", at(0), at(1), 0.9, 0.8), at(1))
    engine.on_condition(DOOR, "failed", at(1))
    assert answer(LastScore(MOTOR), engine, 1) == 0.9
    assert answer(IsAnomalous(MOTOR), engine, 1) is True
    assert answer(HealthOf(DOOR), engine, 1) == "failed"
    assert answer(IsAnomalous(MOTOR), engine, 2 + SILENT_AFTER_S) is None


def test_a_slow_source_is_not_silent_before_its_time() -> None:
    engine = engine_with()
    slow = RuleBook({}, frozenset({DOOR}), Silence({DOOR: int(600e9)}))
    engine.adopt(slow, at(0))
    see(engine, 1, person())
    assert answer(PEOPLE, engine, 500) == 1.0
    assert answer(PEOPLE, engine, 700) is None


def test_what_was_known_of_a_source_that_is_gone_is_forgotten() -> None:
    engine = engine_with()
    see(engine, 1, person())
    engine.on_readings(MOTOR, [Reading("x", 1.0, "g", at(1))], at(1))
    engine.adopt(RuleBook({}, frozenset({YARD})), at(2))
    assert answer(PEOPLE, engine, 2) is None
    assert answer(LastReading(MOTOR, "x"), engine, 2) is None
