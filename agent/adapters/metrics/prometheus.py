"""The metrics port on prometheus-client, with a registry of its own."""

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder

from agent.adapters.metrics.sketch import Percentiles, Sketch
from agent.adapters.metrics.table import PREFIX, TABLE, Kind, Metric

log = structlog.get_logger(__name__)

MOST_SERIES: Final = 1_000
"""Label combinations per metric: past them something puts unbounded values into a label."""


@dataclass(frozen=True, slots=True)
class _Series:
    """One metric with one set of label values; what was observed also goes into a sketch."""

    labels: dict[str, str]
    child: Counter | Gauge | Histogram
    sketch: Sketch | None


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
        self._collectors = {metric.name: _collector(metric, self._registry) for metric in table}
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

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        if not math.isfinite(seconds):
            self._mistake(name, f"observes {seconds}; a duration is a finite number")
        elif series := self._find("observe", name, labels):
            # Times taken in two threads may cross by a hair.
            seconds = max(seconds, 0.0)
            cast("Histogram", series.child).observe(seconds)
            with self._lock:
                cast("Sketch", series.sketch).add(seconds)

    def percentiles(self, name: str, /, **labels: str) -> Percentiles | None:
        """Of what `observe` was given under these labels, whatever the labels left out; None: nothing yet."""
        with self._lock:
            return Sketch.merged(
                series.sketch
                for series in self._series.get(name, {}).values()
                if series.sketch is not None and labels.items() <= series.labels.items()
            ).percentiles()

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
                collector = self._collectors[name]
                series = of_metric[values] = _Series(
                    labels=dict(zip(metric.labels, values, strict=True)),
                    child=collector.labels(*values) if values else collector,
                    sketch=Sketch() if kind == "observe" else None,
                )
            if series is not None:
                self._by_call[call] = series
        if series is None:
            self._mistake(name, f"more than {MOST_SERIES} combinations of label values")
        return series

    def _mistake(self, name: str, what: str) -> None:
        if self._strict:
            raise ValueError(f"metric {name}: {what}")
        if name not in self._mistakes:
            self._mistakes.add(name)
            log.error("metrics.use_wrong", metric=name, what=what)


def _collector(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name = PREFIX + metric.name
    match metric.kind:
        case "count":
            return Counter(name, metric.help, metric.labels, registry=registry)
        case "gauge":
            return Gauge(name, metric.help, metric.labels, registry=registry)
        case "observe":
            return Histogram(name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)
