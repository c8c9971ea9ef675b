"""Faster models, made while slower ones serve; each takes over between two frames."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import structlog

from agent.domain.errors import NanofleetError
from agent.pipeline.scheduler import Scheduler
from agent.pipeline.supervise import in_thread
from agent.ports import Condition, DetectorModel, ModelUpgrade

log = structlog.get_logger(__name__)


class Upgrading:
    """One upgrade after the other: two builds at once would share one GPU's memory.

    `on_replaced` hears, on the loop, what took over from what.
    """

    def __init__(
        self,
        *,
        upgrades: Sequence[ModelUpgrade],
        scheduler: Scheduler,
        on_condition: Condition,
        on_replaced: Callable[[DetectorModel, DetectorModel], None],
    ) -> None:
        self._upgrades = tuple(upgrades)
        self._scheduler = scheduler
        self._on_condition = on_condition
        self._on_replaced = on_replaced
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Returns when every upgrade has taken over or failed. Cancelled, it stops the build under way."""
        stop = threading.Event()
        try:
            for upgrade in self._upgrades:
                await self._one(upgrade, stop)
        finally:
            stop.set()

    async def _one(self, upgrade: ModelUpgrade, stop: threading.Event) -> None:
        old = upgrade.serving
        name = old.facts.name
        wanted, meanwhile = old.facts.provider_asked, old.facts.provider_used

        def tell(seconds: float) -> None:
            message = f"{wanted} is being prepared, {meanwhile} serves meanwhile ({seconds:.0f} s so far)"
            self._loop.call_soon_threadsafe(self._tell, name, "waiting", None, message)

        try:
            new = await in_thread(
                f"upgrade[{name}]", lambda: upgrade.build(tell=tell, stop=stop), yields=True
            )
        except NanofleetError as error:
            log.warning("model.upgrade_failed", model=name, code=error.code, message=error.message)
            self._on_condition(
                f"model-{name}", "degraded", error.code, f"{meanwhile} goes on serving: {error.message}"
            )
            return
        self._scheduler.replace_model(old, new, thresholds={})
        self._on_replaced(old, new)
        log.info("model.upgraded", model=name, was=meanwhile, now=new.facts.provider_used)
        self._on_condition(f"model-{name}", "ok", None, f"{new.facts.provider_used} serves")

    def _tell(self, name: str, status: str, code: str | None, message: str) -> None:
        self._on_condition(f"model-{name}", status, code, message)  # type: ignore[arg-type]
