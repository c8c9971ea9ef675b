"""Figures for whoever looks after the node."""

from collections.abc import Sequence
from typing import Protocol


class Metrics(Protocol):
    """Numbers for /metrics. Every thread may call; never blocks, never raises."""

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, /, **labels: str) -> None: ...

    def forget(self, name: str, /, **labels: str) -> None:
        """Tell this gauge with these labels no more, for what it was of is gone; never told is fine."""

    def observe(self, name: str, seconds: float, /, **labels: str) -> None: ...

    def observe_all(self, name: str, seconds: Sequence[float], /, **labels: str) -> None:
        """`observe` each, for less."""
