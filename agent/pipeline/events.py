"""How an event is told: its message, and its alarm."""

from collections.abc import Mapping

from agent.contract import payloads
from agent.contract.topics import Topics, events_stream, expiry_s
from agent.domain.ids import SourceName, Stream
from agent.domain.rules.course import Change
from agent.domain.stamp import Stamp, rfc3339
from agent.ports import Clock, Draft, Publication, StandingEvent


class EventWriter:
    """Puts events into words. `expiry_s` and `streams` are those of the policy in force."""

    def __init__(self, *, topics: Topics, clock: Clock) -> None:
        self._topics = topics
        self._clock = clock
        self.expiry_s: int | None = None
        self.streams: Mapping[SourceName, Stream] = {}

    def message(self, change: Change, standing: StandingEvent, *, config_version: int) -> Draft:
        """The event's message, for the outbox."""
        stream = events_stream(change.rule)
        event = payloads.Event.model_validate(
            {
                **payloads.stream_head(
                    self._topics, change.at, synced=self._clock.synced(), boot=self._clock.boot
                ),
                "rule": change.rule,
                "event": change.event,
                "phase": change.phase,
                "severity": standing.severity,
                "message": standing.message,
                "began": rfc3339(change.began.wall_ns),
                "ended": None if change.ended is None else rfc3339(change.ended.wall_ns),
                "reason": change.reason,
                "config_version": config_version,
                "values": dict(change.values),
                "evidence": {
                    self.streams[source]: _evidence(first, last)
                    for source, (first, last) in change.evidence.items()
                    if source in self.streams
                },
            }
        )
        return Draft(
            stream=stream,
            priority="event",
            body=payloads.encode(event),
            made=self._clock.now(),
            captured=change.at,
            expiry_s=expiry_s(stream) if self.expiry_s is None else self.expiry_s,
        )

    def alarm(self, rule: str, standing: StandingEvent) -> Publication:
        """The retained alarm of an event that is on."""
        alarm = payloads.Alarm.model_validate(
            {
                "rule": rule,
                "event": standing.event,
                "severity": standing.severity,
                "since": rfc3339(standing.began_ns),
                "message": standing.message,
            }
        )
        return Publication(self._topics.alarm(rule), payloads.encode(alarm), retain=True)

    def no_alarm(self, rule: str) -> Publication:
        """What takes a rule's alarm away."""
        return Publication(self._topics.alarm(rule), b"", retain=True)


def _evidence(first: Stamp, last: Stamp) -> payloads.Evidence:
    return payloads.Evidence(
        first=rfc3339(first.wall_ns),
        last=rfc3339(last.wall_ns),
        first_ms=first.monotonic_ns // 1_000_000,
        last_ms=last.monotonic_ns // 1_000_000,
    )
