"""From what sources say to events in the outbox, alarms, pictures and rates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import jsonschema
import pytest

from agent.adapters.cel import CelRuleCompiler
from agent.contract import payloads
from agent.contract.policy import Policy
from agent.contract.schemas import payload_schema
from agent.contract.topics import Topics
from agent.domain.errors import Code, TransientError
from agent.domain.ids import SourceName
from agent.domain.reading import Reading, Score
from agent.domain.scene import Scene, Sighting
from agent.pipeline.announcements import Announcements
from agent.pipeline.rulebook import RuleRefusedError
from agent.pipeline.ruling import MOST_WAITING, Ruling
from agent.pipeline.supervise import Ticks
from agent.ports import Draft, Standing, StandingStore, Status
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.fakes.outbox import FakeOutbox
from tests.fakes.standing import FakeStandingStore
from tests.polling import until

DOOR, MOTOR = SourceName("door"), SourceName("motor")
CROWD: dict[str, Any] = {
    "when": 'count("person") >= 2',
    "severity": "warning",
    "message": "Too many people at the door",
    "alarm": True,
}
ALARM = "edge/v1/plant/n1/alarms/crowd"


def policy(**rules: Mapping[str, Any]) -> Policy:
    sources = {"door": {"kind": "synthetic"}, "motor": {"kind": "vibration"}}
    return Policy.model_validate({"sources": sources, "rules": rules})


class World:
    """A node's outbox, store and announcements, which outlive the stage that judges."""

    def __init__(self, *, store: StandingStore | None = None, outbox: FakeOutbox | None = None) -> None:
        self.clock = FakeClock()
        self.outbox = outbox or FakeOutbox(clock=self.clock)
        self.announcements = Announcements()
        self.metrics = FakeMetrics()
        self.store = store or FakeStandingStore()
        self.conditions: dict[str, tuple[Status, str | None, str | None]] = {}
        self.snapshots: list[tuple[str, str]] = []
        self.rates: list[dict[SourceName, float]] = []
        self.ruling = self._made()

    def _made(self) -> Ruling:
        def note(who: str, status: Status, code: str | None, message: str | None) -> None:
            self.conditions[who] = (status, code, message)

        return Ruling(
            compiler=CelRuleCompiler(),
            outbox=self.outbox,
            topics=Topics("plant", "n1"),
            announcements=self.announcements,
            clock=self.clock,
            metrics=self.metrics,
            ticks=Ticks(clock=self.clock),
            store=self.store,
            on_condition=note,
            snapshot=lambda source, event: self.snapshots.append((source, event)),
            set_rates=lambda rates: self.rates.append(dict(rates)),
            classes=lambda _policy: {DOOR: {"person", "dog"}},
        )

    @asynccontextmanager
    async def at_work(self, first: Policy) -> AsyncIterator[Ruling]:
        """A new process judges by this policy until the end of the block, and tells all that it saw."""
        self.announcements = Announcements()
        self.ruling = self._made()
        await self.ruling.begin(first)
        running = asyncio.get_running_loop().create_task(self.ruling.run(), name="rules")
        try:
            yield self.ruling
        finally:
            self.ruling.close()
            await asyncio.wait_for(running, timeout=10)

    async def see(self, people: int) -> None:
        self.clock.advance(1)
        person = Sighting("person", 0.9, (0, 0, 1, 1))
        await self.ruling.on_scene(Scene(DOOR, self.clock.now(), (person,) * people))

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(row.body) for row in self.outbox.rows.values()]

    def phases(self) -> list[tuple[str, str]]:
        return [(event["rule"], event["phase"]) for event in self.events]

    def retained(self) -> dict[str, bytes]:
        return {each.topic: each.payload for each in self.announcements.birth()}


async def test_an_event_is_a_message_of_the_contract() -> None:
    world = World()
    async with world.at_work(policy(crowd=CROWD)) as ruling:
        ruling.config_version = 42
        for people in (1, 2, 3, 1):
            await world.see(people)
    begin, end = world.outbox.rows.values()
    for row in (begin, end):
        assert (row.stream, row.priority, row.expiry_s) == ("events/crowd", "event", 30 * 86_400)
        sent = json.loads(payloads.with_sequence(row.body, epoch="01JC", seq=row.seq))
        jsonschema.validate(sent, payload_schema(payloads.Event))
    began, ended = json.loads(begin.body), json.loads(end.body)
    assert (began["phase"], began["severity"], began["config_version"]) == ("begin", "warning", 42)
    assert began["message"] == "Too many people at the door"
    assert began["began"] == began["time"] == "2023-11-14T22:13:22.000Z"
    assert began["values"] == {'count("person")': 2.0}
    assert (ended["phase"], ended["reason"], ended["event"]) == ("end", "over", began["event"])
    assert (ended["began"], ended["ended"]) == (began["began"], "2023-11-14T22:13:24.000Z")
    assert ended["evidence"] == {
        "detections/door": {
            "from": "2023-11-14T22:13:22.000Z",
            "to": "2023-11-14T22:13:24.000Z",
            "first_ms": 12_000,
            "last_ms": 14_000,
        }
    }


async def test_an_alarm_stands_while_its_event_is_on() -> None:
    world = World()
    async with world.at_work(policy(crowd=CROWD)):
        assert world.retained() == {ALARM: b""}
        await world.see(2)
        await until(lambda: world.retained()[ALARM] != b"")
        alarm = json.loads(world.retained()[ALARM])
        jsonschema.validate(alarm, payload_schema(payloads.Alarm))
        assert (alarm["rule"], alarm["severity"], alarm["event"]) == (
            "crowd",
            "warning",
            world.events[0]["event"],
        )
        await world.see(0)
    assert world.retained() == {ALARM: b""}


async def test_an_event_goes_on_in_the_next_process_under_its_name() -> None:
    world = World()
    async with world.at_work(policy(crowd=CROWD)):
        await world.see(2)
    async with world.at_work(policy(crowd=CROWD)):
        await until(lambda: len(world.events) == 2)
        assert json.loads(world.retained()[ALARM])["event"] == world.events[0]["event"]
        await world.see(2)
        await world.see(1)
    assert world.phases() == [("crowd", "begin"), ("crowd", "update"), ("crowd", "end")]
    assert len({event["event"] for event in world.events}) == 1
    assert len({event["began"] for event in world.events}) == 1
    assert world.store.load().events == {}


async def test_an_event_whose_rule_is_gone_ends_and_its_alarm_is_taken_away() -> None:
    world = World()
    async with world.at_work(policy(crowd=CROWD)):
        await world.see(2)
    async with world.at_work(policy()):
        pass
    assert world.phases() == [("crowd", "begin"), ("crowd", "end")]
    assert world.events[-1]["reason"] == "removed"
    assert world.retained() == {ALARM: b""}


async def test_an_alarm_that_a_process_could_not_take_away_goes_with_the_next() -> None:
    world = World()
    async with world.at_work(policy(crowd=CROWD)):
        await world.see(2)
        await until(lambda: world.retained()[ALARM] != b"")
        await world.see(0)
    async with world.at_work(policy()):
        assert world.retained() == {ALARM: b""}


async def test_the_name_of_an_event_is_kept_before_it_is_told() -> None:
    told_with: list[Standing] = []

    class WatchedOutbox(FakeOutbox):
        async def append(self, draft: Draft) -> None:
            told_with.append(world.store.load())
            await super().append(draft)

    world = World(outbox=WatchedOutbox(clock=FakeClock()))
    async with world.at_work(policy(crowd=CROWD)):
        await world.see(2)
    (standing,) = told_with
    assert standing.events["crowd"].event == world.events[0]["event"]
    assert standing.alarms == ("crowd",)


async def test_a_disk_that_refuses_does_not_silence_a_rule() -> None:
    class FullDisk(FakeStandingStore):
        def keep(self, standing: Standing) -> None:
            raise TransientError(f"no space for {standing}", code=Code.DISK)

    world = World(store=FullDisk())
    async with world.at_work(policy(crowd=CROWD)):
        await world.see(2)
    assert world.phases() == [("crowd", "begin")]


async def test_another_policy_ends_what_it_changes_and_keeps_what_it_does_not() -> None:
    world = World()
    async with world.at_work(policy(crowd=CROWD, same={"when": "count() > 0"})) as ruling:
        await world.see(2)
        adopt = await ruling.stage(
            policy(crowd={**CROWD, "severity": "critical"}, same={"when": "count() > 0"})
        )
        adopt()
        await world.see(2)
        await until(lambda: len(world.events) == 4)
        assert json.loads(world.retained()[ALARM])["severity"] == "critical"
    assert world.phases() == [
        ("crowd", "begin"),
        ("same", "begin"),
        ("crowd", "end"),
        ("crowd", "begin"),
    ]
    assert world.events[2]["reason"] == "removed"


async def test_a_policy_with_a_rule_that_cannot_serve_is_refused_and_changes_nothing() -> None:
    world = World()
    async with world.at_work(policy(crowd=CROWD)) as ruling:
        with pytest.raises(RuleRefusedError, match="rule bad, until: there is no sensor 'moto'") as refused:
            await ruling.stage(policy(bad={"when": "true", "until": 'reading("moto/x") > 1'}))
        assert (refused.value.code, refused.value.path) == (Code.SCHEMA, "/policy/rules/bad/until")
        await world.see(2)
    assert world.phases() == [("crowd", "begin")]


async def test_a_first_policy_works_without_the_rule_that_cannot_serve_and_health_tells() -> None:
    world = World()
    async with world.at_work(policy(bad={"when": "count(x) > 1"}, crowd=CROWD)):
        await until(lambda: "rules" in world.conditions)
        status, code, message = world.conditions["rules"]
        assert (status, code) == ("degraded", Code.SCHEMA)
        assert message is not None
        assert "bad: count takes only fixed values" in message
        await world.see(2)
    assert world.phases() == [("crowd", "begin")]


async def test_a_class_that_no_model_finds_is_told_and_the_rule_serves_all_the_same() -> None:
    world = World()
    async with world.at_work(policy(typo={"when": 'count("persn") > 0'}, fine={"when": 'count("dog") > 0'})):
        await until(lambda: "rules" in world.conditions)
        status, _code, message = world.conditions["rules"]
        assert status == "degraded"
        assert message is not None
        assert "typo: no model of door finds the class 'persn'; did you mean 'person'?" in message
        assert "fine" not in message


async def test_pictures_and_rates_are_asked_for_while_an_event_is_on() -> None:
    rule = {**CROWD, "snapshot": ["door"], "rates": {"door": 5}}
    world = World()
    async with world.at_work(policy(crowd=rule, more={"when": "count() > 2", "rates": {"door": 9}})):
        for people in (2, 3, 2, 0):
            await world.see(people)
        await until(lambda: len(world.events) == 4)
    assert world.rates == [{"door": 5.0}, {"door": 9.0}, {"door": 5.0}, {}]
    assert world.snapshots == [("door", world.events[0]["event"])]


async def test_readings_scores_and_conditions_are_judged() -> None:
    rules = {
        "hot": {"when": 'reading("motor/t") > 80'},
        "odd": {"when": 'anomalous("motor")'},
        "blind": {"when": 'health("door") in ["failed", "degraded"]'},
    }
    world = World()
    async with world.at_work(policy(**rules)) as ruling:
        now = world.clock.now()
        await ruling.on_readings(MOTOR, [Reading("t", 81, "°C", now)])
        await ruling.on_score(MOTOR, Score("m", now, now, 0.9, 0.8))
        ruling.on_condition("door", "failed", "E_OPEN", None)
        ruling.on_condition("outbox", "failed", "E_DISK", None)
    assert world.phases() == [("hot", "begin"), ("odd", "begin"), ("blind", "begin")]
    assert list(world.events[0]["evidence"]) == ["telemetry/motor"]


async def test_time_alone_begins_what_has_held_long_enough() -> None:
    world = World()
    async with world.at_work(policy(crowd={**CROWD, "for_s": 5})):
        await world.see(2)
        world.clock.advance(5)
        await until(lambda: bool(world.events))
    assert world.phases() == [("crowd", "begin")]


async def test_who_brings_news_waits_while_the_outbox_does_not_take_them() -> None:
    class StuckOutbox(FakeOutbox):
        def __init__(self) -> None:
            super().__init__(clock=FakeClock())
            self.free = asyncio.Event()

        async def append(self, draft: Draft) -> None:
            await self.free.wait()
            await super().append(draft)

    outbox = StuckOutbox()
    world = World(outbox=outbox)
    rules = {f"r{number}": {"when": "count() > 0"} for number in range(MOST_WAITING)}
    async with world.at_work(policy(**rules)):
        waiting = asyncio.get_running_loop().create_task(world.see(1), name="see")
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        outbox.free.set()
        await asyncio.wait_for(waiting, timeout=10)
    assert len(world.events) == MOST_WAITING


async def test_rules_that_flicker_tell_one_event_a_second_and_count_what_they_held_back() -> None:
    world = World()
    person = Sighting("person", 0.9, (0, 0, 1, 1))
    async with world.at_work(policy(flicker={"when": 'count("person") > 0'})) as ruling:
        for step in range(100):  # 10 seconds
            world.clock.advance(0.1)
            await ruling.on_scene(Scene(DOOR, world.clock.now(), (person,) * (step % 2)))
        await until(lambda: world.metrics.counts["rule_events_held_back_total rule=flicker"] > 0)
    begins = [phase for _rule, phase in world.phases() if phase == "begin"]
    held_back = world.metrics.counts["rule_events_held_back_total rule=flicker"]
    assert len(begins) <= 9
    assert len(begins) + held_back == 50
