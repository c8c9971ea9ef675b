"""Who may say what to this node."""

from collections.abc import Collection
from typing import Literal, Protocol

from agent.domain.errors import Code, RefusedError


class ExpiredError(RefusedError):
    """A control document that is genuine and meant for this node, but too old to be taken.

    `body` is what was signed, for whoever has it in force already and need not mind.
    """

    def __init__(self, message: str, *, body: bytes, path: str) -> None:
        super().__init__(message, code=Code.EXPIRED, path=path)
        self.body = body


class ControlVerifier(Protocol):
    """Who may say what to this node.

    Called from any thread, also the event loop's; takes a millisecond or two, and waits for nothing.
    """

    def open(
        self,
        payload: bytes,
        *,
        kind: Literal["policy", "command"],
        also: Collection[Literal["policy", "command"]] = (),
    ) -> bytes:
        """The JSON inside a control message, once it is known that this node may take it.

        What is not signed is given as it is, where this node takes that. It is not validated. `also`: what
        its key has to be trusted with besides, because of what the message does.

        Raises:
            RefusedError: it is not signed, or not by a key of this node, for it, and for this kind
                (E_SIGNATURE, E_AUTH); or from a time that cannot be judged (E_CLOCK).
            ExpiredError: it is all that, but too old.
        """
