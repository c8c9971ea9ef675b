"""Which events are on, and whose alarms may stand at the broker: on the disk before any of it is told."""

from typing import Final

import structlog

from agent.contract.rules import Rule
from agent.domain.errors import TransientError
from agent.domain.rules.course import Change
from agent.domain.rules.engine import Begun
from agent.domain.stamp import Stamp
from agent.pipeline.supervise import Ticks, in_thread, ticking
from agent.ports import Standing, StandingEvent, StandingStore

log = structlog.get_logger(__name__)

_MOST_ALARMS: Final = 1000


class StandingEvents:
    """`on` are those that are on, by rule; `alarms` names the rules that ever kept one, the last one last."""

    def __init__(self, *, store: StandingStore, ticks: Ticks) -> None:
        self._store = store
        self._ticks = ticks
        self._kept: Standing | None = Standing()
        self.on: dict[str, StandingEvent] = {}
        self.alarms: dict[str, None] = {}

    async def load(self) -> dict[str, Begun]:
        """What a former process left on."""
        standing = self._kept = await in_thread("standing-events", self._store.load)
        self.on = dict(standing.events)
        self.alarms = dict.fromkeys(standing.alarms)
        return {
            name: Begun(each.event, each.identity, Stamp(each.began_ns, 0)) for name, each in self.on.items()
        }

    def begin(self, change: Change, rule: Rule, identity: str) -> None:
        """An event is on from now."""
        self.on[change.rule] = StandingEvent(
            event=change.event,
            identity=identity,
            began_ns=change.began.wall_ns,
            severity=rule.severity,
            message=rule.message,
        )
        if rule.alarm:
            self.alarms.pop(change.rule, None)
            self.alarms[change.rule] = None

    async def keep(self) -> None:
        """Write down what is on, if that has changed. A disk that refuses is logged, and tried next time."""
        standing = Standing(events=dict(self.on), alarms=tuple(self.alarms)[-_MOST_ALARMS:])
        if standing == self._kept:
            return
        try:
            await ticking(
                self._ticks, "rules", in_thread("standing-events", lambda: self._store.keep(standing))
            )
        except TransientError as error:
            # Told all the same: what a restart would make of it is less than silence.
            log.warning("rules.standing_not_kept", code=error.code, message=error.message)
            self._kept = None
        else:
            self._kept = standing
