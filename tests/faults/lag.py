"""How far behind the present a consumer is, by the messages' own times."""

from __future__ import annotations

import time
from datetime import datetime

from tests.faults.consumer import Consumer, Received


def made_at(message: Received) -> float | None:
    """Unix time at which a message of a stream was made; None for others."""
    if "seq" not in message.content:
        return None
    return datetime.fromisoformat(message.content["time"]).timestamp()


class LagWatch:
    """From now on: the messages that are made from now on are the present, all others the past."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._since = consumer.count
        self.since_s = time.time()

    def points(self) -> list[tuple[float, float]]:
        """Of each message of the present that has arrived so far: when, since we began to watch, and how many
        seconds after it was made."""
        return [
            (message.at_s - self.since_s, message.at_s - made)
            for message in self._consumer.messages(self._since)
            if (made := made_at(message)) and made >= self.since_s
        ]
