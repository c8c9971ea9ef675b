"""What a person at the node wants of its policy: left in a file, taken from there by the agent."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from agent.contract.policy import PolicyDocument
from agent.domain.errors import NanofleetError
from agent.pipeline.control.policy import PolicyControl
from agent.pipeline.supervise import in_thread
from agent.pipeline.waiting import wait_for_event
from agent.ports import PolicyInbox

log = structlog.get_logger(__name__)

_LOOK_S: Final = 0.5


class LocalControl:
    """Looks for a wish twice a second. Who may write into the node's folder is trusted as the node is.

    `read` makes a document of what was left, in a thread.
    """

    def __init__(
        self, *, inbox: PolicyInbox, policies: PolicyControl, read: Callable[[bytes], PolicyDocument]
    ) -> None:
        self._read = read
        self._inbox = inbox
        self._policies = policies

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`."""
        while not stop.is_set():
            try:
                wish = await in_thread("policy-inbox", self._inbox.take)
                if wish is not None and wish.forget_floor:
                    await self._policies.reset()
                if wish is not None and wish.document is not None:
                    document = await in_thread("read-policy", partial(self._read, wish.document))
                    await self._policies.submit(document, "local")
            except NanofleetError as error:
                log.warning("policy.wish_refused", code=error.code, message=error.message)
            await wait_for_event(stop, timeout_s=_LOOK_S)
