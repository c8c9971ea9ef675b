"""Certificates that are renewed while the node runs: the session moves over to them."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from agent.domain.errors import Code
from agent.pipeline.supervise import in_thread, unless
from agent.pipeline.waiting import wait_for_event
from agent.ports import Certificates, Condition, Metrics

_EVERY_S: Final = 5.0


class Renewal:
    """Has the certificate files looked at, tells how they are, and calls `on_renewed` when new ones hold."""

    def __init__(
        self,
        *,
        certificates: Certificates,
        connected: Callable[[], bool],
        on_renewed: Callable[[], None],
        on_condition: Condition,
        metrics: Metrics,
        every_s: float = _EVERY_S,
    ) -> None:
        self._certificates = certificates
        self._connected = connected
        self._on_renewed = on_renewed
        self._on_condition = on_condition
        self._metrics = metrics
        self._every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Look now and then until `stop`; a trial under way is left to itself."""
        while not stop.is_set():
            look = partial(self._certificates.check, connected=self._connected())
            check = await unless(stop, "certificates", in_thread("certificates", look))
            if check is None:
                return
            if check.trouble is None:
                self._on_condition("certificate", "ok", None, None)
            else:
                self._on_condition("certificate", "degraded", Code.TLS, check.trouble)
            if check.expires_s is not None:
                self._metrics.gauge("certificate_days_left", round(check.expires_s / 86_400, 3))
            if check.life_left is not None:
                self._metrics.gauge("certificate_life_left", round(check.life_left, 5))
            if check.is_renewed:
                self._on_renewed()
            await wait_for_event(stop, timeout_s=self._every_s)
