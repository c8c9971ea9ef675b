"""The metrics port on prometheus-client, with a registry of its own."""

import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder

from agent.adapters.metrics.sketch import Percentiles, Sketch
from agent.adapters.metrics.table import PREFIX, TABLE, Kind, Metric
from agent.adapters.metrics.timings import Timings, TimingsCollector

log = structlog.get_logger(__name__)

MOST_SERIES: Final = 1_000
"""Label combinations per metric: past them something puts unbounded values into a label."""


@dataclass(frozen=True, slots=True)
class _Series:
    """One metric with one set of label values."""

    labels: dict[str, str]
    child: Counter | Gauge | Timings


class PrometheusMetrics:
    """Fulfils `ports.Metrics`.

    A name, label or value that is not as `TABLE` says is a mistake in the agent's code: it is logged once a
    name and the number dropped, because a number is never worth a frame. With `strict`, for tests, it raises
    ValueError.
    """

    def __init__(self, *, version: str, table: Iterable[Metric] = TABLE, strict: bool = False) -> None:
        self._strict = strict
        self._declared = {metric.name: metric for metric in table}
        self._registry = CollectorRegistry(auto_describe=False)
        self._timings: dict[str, dict[tuple[str, ...], Timings]] = {}
        self._collectors: dict[str, Counter | Gauge] = {}
        for metric in self._declared.values():
            self._register(metric)
        self._series: dict[str, dict[tuple[str, ...], _Series]] = {name: {} for name in self._declared}
        self._by_call: dict[tuple[Kind, str, tuple[tuple[str, str], ...]], _Series] = {}
        self._lock = threading.Lock()
        self._mistakes: set[str] = set()
        ProcessCollector(registry=self._registry)
        Info(PREFIX + "build", "The agent's version.", registry=self._registry).info({"version": version})

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        if not 0 <= amount < math.inf:
            self._mistake(name, f"counts {amount}; a count grows by a number that is not negative")
        elif series := self._find("count", name, labels):
            cast("Counter", series.child).inc(amount)

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        if series := self._find("gauge", name, labels):
            cast("Gauge", series.child).set(value)

    def forget(self, name: str, /, **labels: str) -> None:
        metric = self._declared.get(name)
        if metric is None or metric.kind != "gauge" or not labels or set(metric.labels) != set(labels):
            self._mistake(name, f"forget with labels {sorted(labels)} names no gauge in the table of metrics")
            return
        values = tuple(str(labels[label]) for label in metric.labels)
        with self._lock:
            gone = self._series[name].pop(values, None)
            if gone is not None:
                self._by_call = {call: one for call, one in self._by_call.items() if one is not gone}
                self._collectors[name].remove(*values)

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        self.observe_all(name, (seconds,), **labels)

    def observe_all(self, name: str, seconds: Sequence[float], /, **labels: str) -> None:
        if not all(map(math.isfinite, seconds)):
            self._mistake(name, f"observes {seconds}; a duration is a finite number")
        elif series := self._find("observe", name, labels):
            cast("Timings", series.child).add(seconds)

    def percentiles(self, name: str, /, **labels: str) -> Percentiles | None:
        """Of what `observe` was given under these labels, whatever the labels left out; None: nothing yet."""
        with self._lock:
            found = [
                series.child
                for series in self._series.get(name, {}).values()
                if isinstance(series.child, Timings) and labels.items() <= series.labels.items()
            ]
        return Sketch.merged(timings.sketch() for timings in found).percentiles()

    def page(self, accept: str) -> tuple[bytes, str]:
        """All metrics as text, and its content type: OpenMetrics where the Accept header asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def _find(self, kind: Kind, name: str, labels: dict[str, str]) -> _Series | None:
        call = (kind, name, tuple(labels.items()))
        return self._by_call.get(call) or self._make(call, labels)

    def _make(
        self, call: tuple[Kind, str, tuple[tuple[str, str], ...]], labels: dict[str, str]
    ) -> _Series | None:
        kind, name, _ = call
        metric = self._declared.get(name)
        if metric is None or metric.kind != kind or set(metric.labels) != set(labels):
            self._mistake(
                name, f"{kind} with labels {sorted(labels)} is not declared in the table of metrics"
            )
            return None
        values = tuple(str(labels[label]) for label in metric.labels)
        with self._lock:
            of_metric = self._series[name]
            series = of_metric.get(values)
            if series is None and len(of_metric) < MOST_SERIES:
                series = of_metric[values] = _Series(
                    labels=dict(zip(metric.labels, values, strict=True)),
                    child=self._child(metric, values),
                )
            if series is not None:
                self._by_call[call] = series
        if series is None:
            self._mistake(name, f"more than {MOST_SERIES} combinations of label values")
        return series

    def _child(self, metric: Metric, values: tuple[str, ...]) -> Counter | Gauge | Timings:
        if metric.kind == "observe":
            return self._timings[metric.name].setdefault(values, Timings(metric.buckets))
        collector = self._collectors[metric.name]
        if values:
            return collector.labels(*values)
        if metric.kind == "gauge":
            self._registry.register(collector)
        return collector

    def _register(self, metric: Metric) -> None:
        name = PREFIX + metric.name
        match metric.kind:
            case "count":
                counter = Counter(name, metric.help, metric.labels, registry=self._registry)
                self._collectors[metric.name] = counter
            case "gauge":
                # One without labels would be 0 before anybody knew: no years of life, no days left.
                registry = self._registry if metric.labels else None
                self._collectors[metric.name] = Gauge(name, metric.help, metric.labels, registry=registry)
            case "observe":
                timings = self._timings[metric.name] = {}
                if not metric.labels:  # there from the beginning, as the others are
                    timings[()] = Timings(metric.buckets)
                self._registry.register(TimingsCollector(name, metric.help, metric.labels, timings))

    def _mistake(self, name: str, what: str) -> None:
        if self._strict:
            raise ValueError(f"metric {name}: {what}")
        if name not in self._mistakes:
            self._mistakes.add(name)
            log.error("metrics.use_wrong", metric=name, what=what)
