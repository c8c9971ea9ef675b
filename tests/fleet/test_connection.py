"""How the end of a connection is told to a person."""

from __future__ import annotations

import pytest

from agent.domain.errors import Code, TransientError
from agent.fleet.client import Client
from agent.fleet.connection import Connection
from agent.ports import Closed, Inbound, Limits, SessionEvent


class OneEvent:
    """As much of a session as listening needs: it says one thing."""

    limits = Limits(20, None, None)

    def __init__(self, event: SessionEvent) -> None:
        self._event = event

    async def events(self):  # type: ignore[no-untyped-def]
        yield self._event


@pytest.mark.parametrize(
    ("closed", "says", "code"),
    [
        (
            Closed("taken-over", "0x8E"),
            "another client came to b:8883 as 'me': a broker keeps one",
            Code.REFUSED,
        ),
        (
            Closed("closed", "without a word"),
            "without a word. The broker went, or another client",
            Code.NETWORK,
        ),
        (Closed("keepalive", "no sign of life"), "has ended: no sign of life", Code.NETWORK),
    ],
)
async def test_the_end_of_a_connection(closed: Closed, says: str, code: Code) -> None:
    client = Client("me", "b:8883", link=None, keepalive_s=20)  # type: ignore[arg-type]
    connection = Connection(OneEvent(closed), client=client)  # type: ignore[arg-type]
    heard: list[Inbound] = []
    with pytest.raises(TransientError) as caught:
        await connection.hear(heard.append, for_s=1)
    assert says in caught.value.message
    assert caught.value.code is code
