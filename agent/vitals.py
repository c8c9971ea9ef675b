"""How the agent is, for who looks at its process: the service manager's watchdog, /healthz and /readyz."""

import asyncio
from typing import Any, Final

from agent.adapters.system.notify import Notifier
from agent.adapters.system.run_record import RunRecord
from agent.pipeline.delivery import Delivery
from agent.pipeline.health import Health
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.supervise import Ticks, feed_watchdog, start_thread

_WATCHDOG_S: Final = 2.0


class Vitals:
    """Looks at the stages; changes nothing but the note of a standstill."""

    def __init__(
        self,
        *,
        ticks: Ticks,
        health: Health,
        delivery: Delivery,
        scheduler: Scheduler,
        notifier: Notifier,
        record: RunRecord,
    ) -> None:
        self._ticks = ticks
        self._health = health
        self._delivery = delivery
        self._scheduler = scheduler
        self._notifier = notifier
        self._record = record

    def is_alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether no stage stands still; for /healthz, from its thread."""
        stalled = self._ticks.stalled()
        return not stalled, {"stalled": stalled, "health": self._health.status}

    def is_ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether the node does its work: no stage has failed; for /readyz, from its thread."""
        described = self._health.describe()
        return described["status"] != "failed", {"connected": self._delivery.connected, **described}

    async def watch(self, quiet: asyncio.Event) -> None:
        """Feed the watchdog until `quiet`, while no stage stands still."""

        def feed() -> None:
            self._notifier.watchdog()
            self._notifier.status(self._one_line())

        def on_stall(stalled: bool) -> None:
            start_thread("mark-stalled", lambda: self._record.mark_stalled(stalled=stalled))

        interval_s = min(self._notifier.watchdog_interval_s or _WATCHDOG_S, _WATCHDOG_S)
        await feed_watchdog(
            ticks=self._ticks, interval_s=interval_s, feed=feed, on_stall=on_stall, stop=quiet
        )

    def _one_line(self) -> str:
        inferred = sum(mailbox.taken for mailbox in self._scheduler.statistics().values())
        link = "up" if self._delivery.connected else "down"
        return (
            f"health {self._health.status}, session {self._delivery.session} {link}, {inferred} inferred, "
            f"{self._delivery.statistics().acknowledged} acknowledged"
        )
