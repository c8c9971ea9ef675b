"""One rule in the course of time: what it waits for, which event is on, and what is to be told of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from agent.domain.ids import SourceName
from agent.domain.rules.features import Scalar
from agent.domain.rules.judge import Judge
from agent.domain.rules.machine import Machine, Phase
from agent.domain.rules.prepared import PreparedRule
from agent.domain.stamp import Stamp

EndReason = Literal["over", "schedule", "removed"]
"""It holds no more; its hours are over; the rule was removed or changed."""

PATIENCE_NS: Final = 60_000_000_000
"""So long after a start an event of the former process is not ended by its condition, unless it was seen to
go on since then: sources take time to open, and who is tracked is a stranger at first."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be told of an event.

    `at`: the moment of what made the change. `began`, `ended`: since when it held, and did not any more.
    `evidence`: for each source that the rule asks about, the moments of the first and the last thing that it
    said in that time.
    """

    rule: str
    event: str
    phase: Phase
    began: Stamp
    at: Stamp
    ended: Stamp | None = None
    reason: EndReason | None = None
    evidence: Mapping[SourceName, tuple[Stamp, Stamp]] = field(default_factory=dict)
    values: Mapping[str, Scalar | None] = field(default_factory=dict)


class Course:
    """A rule's state. `moment` tells when a source last said something; `new_id` names a new event."""

    def __init__(
        self,
        rule: PreparedRule,
        *,
        moment: Callable[[SourceName], Stamp | None],
        new_id: Callable[[], str],
    ) -> None:
        self.machine = Machine(rule.timing)
        self._moment = moment
        self._new_id = new_id
        self._event = ""
        self._began = self._ended = Stamp(0, 0)
        self._first: dict[SourceName, Stamp] = {}
        self._patient_until_ns = 0
        self.restate(rule)

    def restate(self, rule: PreparedRule) -> None:
        """The same rule of another policy: its conditions may ask other sources, the rest goes on."""
        self.rule = rule
        self.when = Judge(rule.when)
        self.until = None if rule.until is None else Judge(rule.until)
        self.is_open = True

    @property
    def judges(self) -> tuple[Judge, ...]:
        return (self.when,) if self.until is None else (self.when, self.until)

    @property
    def trouble(self) -> str | None:
        """What is wrong with its conditions, by what they met."""
        return next((judge.trouble for judge in self.judges if judge.trouble), None)

    def resume(self, event: str, began: Stamp, now: Stamp) -> Change:
        """An event of a former process goes on under its name."""
        self.machine.resume(now.monotonic_ns)
        self._event, self._began = event, began
        self._patient_until_ns = now.monotonic_ns + PATIENCE_NS
        return self._change("update", now)

    def look_at_clock(self, now: Stamp) -> bool:
        """Whether its hours have begun or ended since the last look."""
        schedule = self.rule.schedule
        is_open = schedule is None or schedule.is_open(now.wall_ns)
        changed, self.is_open = is_open != self.is_open, is_open
        return changed

    @property
    def due_ns(self) -> int | None:
        """When time alone takes it further; None: never."""
        due_ns, patient_ns = self.machine.due_ns, self._patient_until_ns
        if not patient_ns or not self.machine.is_on:
            return due_ns
        return patient_ns if due_ns is None else min(due_ns, patient_ns)

    def step(self, now_ns: int, cause: Stamp) -> Change | None:
        """Go on to `now_ns`; `cause` is the moment of what was learned, or now."""
        if not self.is_open:
            return self.halt(now_ns, cause, reason="schedule")
        holds = self.when.verdict
        goes_on = holds is True or (self.until is not None and self.until.verdict is False)
        if goes_on or now_ns >= self._patient_until_ns:
            self._patient_until_ns = 0
        over = holds is not True if self.until is None else self.until.verdict is True
        over = over and not self._patient_until_ns
        before = self.machine.state
        phase = self.machine.step(now_ns, holds=holds is True, over=over)
        after = self.machine.state
        if before in {"idle", "cooling"} and after in {"pending", "active"}:
            self._begin(cause)
        if before == "active" and after in {"ending", "cooling"}:
            self._ended = cause
        return self._change(phase, cause, reason="over") if phase else None

    def halt(self, now_ns: int, cause: Stamp, *, reason: EndReason) -> Change | None:
        """Nothing goes on: an event that is on ends."""
        if self.machine.state == "active":
            self._ended = cause
        phase = self.machine.halt(now_ns)
        return self._change(phase, cause, reason=reason) if phase else None

    def _begin(self, cause: Stamp) -> None:
        self._event, self._began = self._new_id(), cause
        self._first = {source: at for source in self.rule.sources if (at := self._moment(source)) is not None}

    def _change(self, phase: Phase, at: Stamp, reason: EndReason | None = None) -> Change:
        ends = phase == "end"
        last = {source: self._moment(source) for source in self._first}
        return Change(
            rule=self.rule.name,
            event=self._event,
            phase=phase,
            began=self._began,
            at=at,
            ended=self._ended if ends else None,
            reason=reason if ends else None,
            evidence={
                source: (first, until)
                for source, first in self._first.items()
                if (until := last[source]) is not None
            },
            values={call: answer for judge in self.judges for call, answer in judge.answers().items()},
        )
