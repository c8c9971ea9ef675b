"""From scenes, readings, scores and conditions to events, alarms and what else a rule does."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from agent.contract.event_id import new_event_id
from agent.contract.policy import Policy
from agent.contract.rules import Rule
from agent.contract.topics import Topics
from agent.domain.ids import SourceName
from agent.domain.reading import Reading, Score
from agent.domain.rules.course import Change
from agent.domain.rules.engine import TICK_S, Begun, Engine
from agent.domain.scene import Scene
from agent.pipeline.announcements import Announcements
from agent.pipeline.class_doubts import class_doubts
from agent.pipeline.events import EventWriter
from agent.pipeline.rule_troubles import RuleTroubles
from agent.pipeline.rulebook import Prepared, RuleRefusedError, prepare_what_can
from agent.pipeline.standing_events import StandingEvents
from agent.pipeline.supervise import Ticks, in_thread, ticking
from agent.pipeline.waiting import wait_for_event
from agent.ports import (
    Clock,
    Condition,
    Metrics,
    Outbox,
    RuleCompiler,
    StandingEvent,
    StandingStore,
    Status,
)

MOST_WAITING: Final = 256
"""Events that wait for the disk; beyond, who brings news waits."""


class Ruling:
    """Judges by the rules of the policy in force. Used on the event loop.

    Before an event is told, its name is on the disk: a process that starts again goes on with it. `snapshot`
    is asked for a picture of a camera that goes with an event; `set_rates` hears the frames a second of
    cameras which rules ask for now, all others go by their own. `classes` tells what cameras' models find.
    """

    def __init__(
        self,
        *,
        compiler: RuleCompiler,
        outbox: Outbox,
        topics: Topics,
        announcements: Announcements,
        clock: Clock,
        metrics: Metrics,
        ticks: Ticks,
        store: StandingStore,
        on_condition: Condition,
        snapshot: Callable[[SourceName, str], None],
        set_rates: Callable[[Mapping[SourceName, float]], None],
        classes: Callable[[Policy], Mapping[SourceName, Collection[str]]] = lambda _policy: {},
    ) -> None:
        self._compiler = compiler
        self._outbox = outbox
        self._announcements = announcements
        self._clock = clock
        self._metrics = metrics
        self._ticks = ticks
        self._snapshot = snapshot
        self._set_rates = set_rates
        self.config_version = 0
        """Of the policy in force; told in every event."""
        self._writer = EventWriter(topics=topics, clock=clock)
        self._engine = Engine(now=clock.now(), new_id=lambda: new_event_id(clock.now().wall_ns))
        self._stanzas: Mapping[str, Rule] = {}
        self._sources: Collection[str] = ()
        self._standing = StandingEvents(store=store, ticks=ticks)
        self._rates: dict[SourceName, float] = {}
        self._troubles = RuleTroubles(on_condition=on_condition)
        self._classes = classes
        self._waiting: deque[tuple[Change, StandingEvent]] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False

    async def begin(self, policy: Policy) -> None:
        """Judge by this first policy; events of the process before go on, or end. Await it once, first.

        A rule that cannot serve is left out, and told in health.
        """
        prepared, refused = await self._compiled(policy)
        self._troubles.refused = {error.name: error.why for error in refused}
        self._adopt(policy, prepared, await self._standing.load())

    async def stage(self, policy: Policy) -> Callable[[], None]:
        """Compile the rules of a policy that may be next; what is returned lets them judge.

        What is stated as before keeps its state.

        Raises:
            RuleRefusedError: the first rule that cannot serve, with the path to its condition.
        """
        prepared, refused = await self._compiled(policy)
        if refused:
            raise refused[0]

        def adopt() -> None:
            self._troubles.refused = {}
            self._adopt(policy, prepared, {})

        return adopt

    async def on_scene(self, scene: Scene) -> None:
        """A camera shows something; its message is in the outbox already."""
        self._take(self._engine.on_scene(scene, self._clock.now()))
        await self._wait_for_room()

    async def on_readings(self, source: SourceName, readings: Sequence[Reading]) -> None:
        """A sensor says something, oldest first."""
        self._take(self._engine.on_readings(source, readings, self._clock.now()))
        await self._wait_for_room()

    async def on_score(self, source: SourceName, score: Score) -> None:
        """A window of a sensor has been rated."""
        self._take(self._engine.on_score(source, score, self._clock.now()))
        await self._wait_for_room()

    def on_condition(self, who: str, status: Status, code: str | None, message: str | None) -> None:  # noqa: ARG002 told to all
        """A source or stage is well, or not; rules ask about sources only."""
        if who in self._sources:
            self._take(self._engine.on_condition(SourceName(who), status, self._clock.now()))

    def close(self) -> None:
        """Nothing more comes: tell what waits, and end. Events that are on stay so."""
        self._closed = True
        self._news.set()

    async def run(self) -> None:
        """Let time pass, and tell. Returns when closed and everything is in the outbox."""
        while not (self._closed and not self._waiting):
            self._ticks.tick("rules")
            await wait_for_event(self._news, timeout_s=TICK_S)
            self._news.clear()
            if not self._closed:
                self._take(self._engine.tick(self._clock.now()))
                self._troubles.tell(self._engine.troubles)
                for rule, held in self._engine.held_back().items():
                    self._metrics.count("rule_events_held_back_total", held, rule=rule)
            await self._tell_waiting()
        self._ticks.retire("rules")

    async def _compiled(self, policy: Policy) -> tuple[Prepared, list[RuleRefusedError]]:
        return await in_thread("rules", lambda: prepare_what_can(policy, compiler=self._compiler))

    def _adopt(self, policy: Policy, prepared: Prepared, begun: Mapping[str, Begun]) -> None:
        self._writer.expiry_s = policy.publish.expiry_s.get("events")
        # What ends now tells where it was found by the sources of both policies.
        self._writer.streams = {**self._writer.streams, **prepared.streams}
        self._sources = policy.sources.keys()
        self._troubles.doubts = class_doubts(prepared.book, self._classes(policy))
        self._stanzas = prepared.stanzas
        self._take(self._engine.adopt(prepared.book, self._clock.now(), begun))
        self._metrics.gauge("rules_active", len(self._standing.on))
        with_alarm = {name for name, rule in self._stanzas.items() if rule.alarm}
        self._clear_alarms(with_alarm | self._standing.alarms.keys())

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.phase == "begin":
                rule, identity = self._stanzas[change.rule], self._engine.identity_of(change.rule)
                self._standing.begin(change, rule, identity)
            self._waiting.append((change, self._standing.on[change.rule]))
            if change.phase == "end":
                del self._standing.on[change.rule]
        if changes:
            self._news.set()
            self._metrics.gauge("rules_active", len(self._standing.on))
            self._follow_rates()

    def _follow_rates(self) -> None:
        rates: dict[SourceName, float] = {}
        for name in self._standing.on:
            rule = self._stanzas.get(name)
            for camera, fps in rule.rates.items() if rule is not None else ():
                rates[SourceName(camera)] = max(fps, rates.get(SourceName(camera), 0.0))
        if rates != self._rates:
            self._rates = rates
            self._set_rates(dict(rates))

    async def _wait_for_room(self) -> None:
        while len(self._waiting) >= MOST_WAITING:
            self._room.clear()
            await ticking(self._ticks, "eventing", self._room.wait())

    async def _tell_waiting(self) -> None:
        if not self._waiting:
            return
        batch = len(self._waiting)
        await self._standing.keep()
        for _ in range(batch):
            change, standing = self._waiting[0]
            draft = self._writer.message(change, standing, config_version=self.config_version)
            await ticking(self._ticks, "rules", self._outbox.append(draft))
            self._waiting.popleft()
            self._room.set()
            self._metrics.count("rule_events_total", rule=change.rule, phase=change.phase)
            self._act(change, standing)

    def _act(self, change: Change, standing: StandingEvent) -> None:
        rule = self._stanzas.get(change.rule)
        if change.phase == "end":
            self._clear_alarms({change.rule} & self._standing.alarms.keys())
        elif rule is not None and rule.alarm and self._standing.on.get(change.rule) == standing:
            self._announcements.retain(self._writer.alarm(change.rule, standing))
        if change.phase == "begin" and rule is not None:
            for camera in rule.snapshot:
                self._snapshot(SourceName(camera), change.event)

    def _clear_alarms(self, rules: Collection[str]) -> None:
        """Take away the alarms of those that have no event on."""
        for name in sorted(rules):
            if name not in self._standing.on:
                self._announcements.retain(self._writer.no_alarm(name))
