"""Metrics that a test can read back."""

from collections import Counter, defaultdict
from collections.abc import Sequence


def _key(name: str, labels: dict[str, str]) -> str:
    return name + "".join(f" {key}={value}" for key, value in sorted(labels.items()))


class FakeMetrics:
    """Fulfils `ports.Metrics`; keys read ``name label=value``."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self.observed: dict[str, list[float]] = defaultdict(list)

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        self.counts[_key(name, labels)] += amount  # type: ignore[assignment]

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        self.gauges[_key(name, labels)] = value

    def forget(self, name: str, /, **labels: str) -> None:
        self.gauges.pop(_key(name, labels), None)

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        self.observed[_key(name, labels)].append(seconds)

    def observe_all(self, name: str, seconds: Sequence[float], /, **labels: str) -> None:
        self.observed[_key(name, labels)].extend(seconds)
