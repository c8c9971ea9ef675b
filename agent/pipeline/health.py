"""How the node is: conditions of sources and stages, the heartbeat, and its warnings, told upwards."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from agent.contract import payloads
from agent.contract.policy import Policy
from agent.contract.topics import LOG_EXPIRY_S, Topics
from agent.domain.errors import TransientError
from agent.domain.ids import SourceName
from agent.domain.stamp import rfc3339
from agent.pipeline.announcements import Announcements
from agent.pipeline.mailbox import MailboxStatistics
from agent.pipeline.supervise import Ticks, in_thread, ticking
from agent.pipeline.waiting import wait_for_event
from agent.ports import Clock, Condition, Metrics, Outbox, Publication, Status

log = structlog.get_logger(__name__)

_TICK_S = 1.0
_MIB = 1 << 20

_NOTHING_YET = MailboxStatistics(offered=0, taken=0, held=0, dropped={})


@dataclass(frozen=True, slots=True)
class Machine:
    """How the board itself is."""

    memory_mb: float
    temperature_c: Mapping[str, float]
    memory_left_mb: float | None = None
    """What may still be taken before the nearest limit, which is `memory_limit_mb`; None: nothing tells."""
    memory_limit_mb: float | None = None


class Health:
    """Gathers conditions, says `B/health` on change and `B/heartbeat` every period.

    `report` is the `Condition` that sources and stages call; `scrub` takes the credentials out of its
    messages, which may hold what a camera's address or a command's own output said.
    """

    def __init__(
        self,
        *,
        topics: Topics,
        announcements: Announcements,
        outbox: Outbox,
        clock: Clock,
        metrics: Metrics,
        ticks: Ticks,
        sources: frozenset[SourceName],
        flow: Callable[[], Mapping[SourceName, MailboxStatistics]],
        machine: Callable[[], Machine],
        session: Callable[[], int],
        shadows: Callable[[], dict[str, payloads.Shadow]] = dict,
        heartbeat_s: float,
        config_version: int,
        scrub: Callable[[str], str],
    ) -> None:
        self._topics = topics
        self._announcements = announcements
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._ticks = ticks
        self._sources = sources
        self._flow = flow
        self._machine = machine
        self._session = session
        self._shadows = shadows
        self._heartbeat_s = heartbeat_s
        self.config_version = config_version
        """Of the policy in force."""
        self._scrub = scrub
        self._started_ns = clock.now().monotonic_ns
        self._conditions: dict[str, payloads.Condition] = {}
        self._listeners: tuple[Condition, ...] = ()
        self._last_beat_ns = self._started_ns
        self._last_flow: Mapping[SourceName, MailboxStatistics] = {}

    @property
    def status(self) -> Literal["ok", "degraded", "failed"]:
        """The worst of the stages; a source that is not well degrades the node, no more."""
        stages = {c.status for who, c in self._conditions.items() if who not in self._sources}
        if "failed" in stages:
            return "failed"
        sources = {c.status for who, c in self._conditions.items() if who in self._sources}
        return "ok" if (stages | sources) <= {"ok", "waiting"} and "waiting" not in sources else "degraded"

    def report(self, who: str, status: Status, code: str | None, message: str | None) -> None:
        """Note how a source or stage is; a change is told at once."""
        message = None if message is None else self._scrub(message)
        known = self._conditions.get(who)
        if known is not None and (known.status, known.code, known.message) == (status, code, message):
            return
        now = rfc3339(self._clock.now().wall_ns)
        since = known.since if known is not None and known.status == status else now
        self._conditions[who] = payloads.Condition(status=status, code=code, message=message, since=since)
        self._metrics.gauge("healthy", float(status == "ok"), who=who)
        self._say_health(now)
        for listener in self._listeners:
            listener(who, status, code, message)

    def heard_by(self, *listeners: Condition) -> None:
        """Who hears of every change, after it was told."""
        self._listeners = listeners

    def condition_of(self, who: str) -> payloads.Condition | None:
        """What a source or stage said last."""
        return self._conditions.get(who)

    def forget(self, who: str) -> None:
        """It is no more, or begins anew: what it said does not count."""
        if self._conditions.pop(who, None) is not None:
            self._metrics.forget("healthy", who=who)
            self._say_health(rfc3339(self._clock.now().wall_ns))

    def adopt(self, policy: Policy) -> None:
        """Other sources may come, and the heart may beat at another rate."""
        self._heartbeat_s = policy.publish.heartbeat_s
        self._sources = frozenset(SourceName(name) for name in policy.sources)
        self._say_health(rfc3339(self._clock.now().wall_ns))

    def describe(self) -> dict[str, Any]:
        """The same as `B/health`, for a person at the node."""
        return self._health(rfc3339(self._clock.now().wall_ns)).model_dump(mode="json")

    def tell(self, entry: payloads.Log) -> None:
        """Pass a line of the log on to `B/log`. On the loop; limited by whoever calls."""
        self._announcements.remark(
            Publication(self._topics.log, payloads.encode(entry), qos=0, expiry_s=LOG_EXPIRY_S)
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Beat until `stop`."""
        self._say_health(rfc3339(self._clock.now().wall_ns))
        next_beat_ns = self._clock.now().monotonic_ns
        while not stop.is_set():
            self._ticks.tick("health")
            now_ns = self._clock.now().monotonic_ns
            next_beat_ns = min(next_beat_ns, now_ns + int(self._heartbeat_s * 1e9))
            if now_ns >= next_beat_ns:
                next_beat_ns = now_ns + int(self._heartbeat_s * 1e9)
                await self._beat()
            await wait_for_event(stop, timeout_s=min(_TICK_S, (next_beat_ns - now_ns) / 1e9))
        self._count(self._flow())
        self._ticks.retire("health")

    def _health(self, now: str) -> payloads.Health:
        return payloads.Health(
            time=now,
            status=self.status,
            sources={who: c for who, c in self._conditions.items() if who in self._sources},
            stages={who: c for who, c in self._conditions.items() if who not in self._sources},
        )

    def _say_health(self, now: str) -> None:
        body = payloads.encode(self._health(now))
        self._announcements.retain(Publication(self._topics.health, body, retain=True))

    async def _beat(self) -> None:
        now = self._clock.now()
        flow = self._flow()
        try:
            outbox = await ticking(self._ticks, "health", self._outbox.statistics())
        except TransientError as error:
            # A disk that stands still is the outbox's to tell; without its figures a beat is left out.
            log.warning("health.beat_left_out", code=error.code, message=error.message)
            return
        machine = await in_thread("machine", self._machine)
        rates = self._rates(flow, now.monotonic_ns)
        self._count(flow)
        self._gauge(machine, oldest_s=outbox.oldest_s)
        self._last_flow, self._last_beat_ns = flow, now.monotonic_ns
        beat = payloads.Heartbeat(
            time=rfc3339(now.wall_ns),
            clock="synced" if self._clock.synced() else "unsynced",
            uptime_s=round((now.monotonic_ns - self._started_ns) / 1e9, 1),
            session=self._session(),
            fps=rates,
            dropped={
                name: {str(cause): count for cause, count in mailbox.dropped.items()}
                for name, mailbox in flow.items()
            },
            outbox=payloads.OutboxFill(
                rows=outbox.rows,
                bytes=outbox.bytes,
                oldest_s=round(outbox.oldest_s, 1),
                refused=outbox.refused,
                at_broker=outbox.at_broker,
            ),
            temperature_c=dict(machine.temperature_c),
            memory_mb=round(machine.memory_mb, 1),
            shadow=self._shadows() or None,
            config_version=self.config_version,
        )
        self._announcements.remark(
            Publication(
                self._topics.heartbeat,
                payloads.encode(beat),
                qos=0,
                expiry_s=max(1, round(3 * self._heartbeat_s)),
            )
        )

    def _gauge(self, machine: Machine, *, oldest_s: float) -> None:
        """For /metrics, what the heartbeat tells as well, and how near the limit of memory is."""
        self._metrics.gauge("policy_version", self.config_version)
        self._metrics.gauge("clock_synced", float(self._clock.synced()))
        self._metrics.gauge("outbox_oldest_s", round(oldest_s, 1))
        for part, celsius in machine.temperature_c.items():
            self._metrics.gauge("temperature_celsius", celsius, part=part)
        if machine.memory_left_mb is not None and machine.memory_limit_mb is not None:
            self._metrics.gauge("memory_left_bytes", machine.memory_left_mb * _MIB)
            self._metrics.gauge("memory_limit_bytes", machine.memory_limit_mb * _MIB)

    def _rates(self, flow: Mapping[SourceName, MailboxStatistics], now_ns: int) -> dict[str, float]:
        """Inferences a second of each source since the last beat."""
        elapsed_s = max((now_ns - self._last_beat_ns) / 1e9, 1e-9)
        rates: dict[str, float] = {
            name: round(
                max(0, statistics.taken - self._last_flow.get(name, _NOTHING_YET).taken) / elapsed_s, 2
            )
            for name, statistics in flow.items()
        }
        return rates

    def _count(self, flow: Mapping[SourceName, MailboxStatistics]) -> None:
        """Bring the counters up to what the mailboxes have counted."""
        for name, now in flow.items():
            before = self._last_flow.get(name, _NOTHING_YET)
            if before.offered > now.offered:  # the source was opened otherwise, and counts from 0 again
                before = _NOTHING_YET
            self._metrics.count("frames_offered_total", now.offered - before.offered, source=name)
            for cause, dropped in now.dropped.items():
                new = dropped - before.dropped.get(cause, 0)
                self._metrics.count("frames_dropped_total", new, source=name, cause=cause)
