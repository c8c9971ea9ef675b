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
        self._since_s = time.time()

    def live(self) -> list[float]:
        """Seconds from making to arrival of each message of the present that has arrived so far."""
        arrived = self._consumer.messages(self._since)
        return [
            message.at_s - made for message in arrived if (made := made_at(message)) and made >= self._since_s
        ]
