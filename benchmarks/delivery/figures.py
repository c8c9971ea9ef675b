"""From rounds and the backlog to figures, and what they should be."""

from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.delivery.rounds import BacklogRun, DeliveryRound, Sender
from benchmarks.delivery.tasks import Paced
from benchmarks.figures import Figure, Measure, over_rounds

GOALS: Final = {
    "durable_over_paho": "≥ 0.5",
    "strict_over_paho": "≥ 0.35",
    "append_p99_ms": "≤ 1",
    "backlog_start_s": "≤ 2",
    "backlog_killed_start_s": "≤ 2",
}
"""What is to be reached. Nothing is judged by it here."""


def append_percentile_ms(paced: Paced, percent: float) -> float:
    """Of the sorted samples, the one below which `percent` of them lie."""
    return paced.append_ms[int(percent / 100 * (len(paced.append_ms) - 1))]


def _over_paho(sender: Sender) -> Callable[[DeliveryRound], float]:
    return lambda each: each.rates_hz[sender] / each.rates_hz["paho"]


def _rate(sender: Sender) -> Callable[[DeliveryRound], float]:
    return lambda each: each.rates_hz[sender]


def _cpu(sender: Sender) -> Callable[[DeliveryRound], float]:
    return lambda each: each.cpu_us[sender]


MEASURES: Final[tuple[Measure[DeliveryRound], ...]] = (
    Measure("durable_over_paho", "x", _over_paho("bulk")),
    Measure("strict_over_paho", "x", _over_paho("strict")),
    Measure("mosquitto_pub_over_paho", "x", _over_paho("mosquitto_pub")),
    Measure("paho_per_s", "1/s", _rate("paho")),
    Measure("durable_per_s", "1/s", _rate("bulk")),
    Measure("strict_per_s", "1/s", _rate("strict")),
    Measure("mosquitto_pub_per_s", "1/s", _rate("mosquitto_pub")),
    Measure("paho_cpu_us", "µs", _cpu("paho")),
    Measure("durable_cpu_us", "µs", _cpu("bulk")),
    Measure("strict_cpu_us", "µs", _cpu("strict")),
    Measure("append_p50_ms", "ms", lambda each: append_percentile_ms(each.append, 50)),
    Measure("append_p99_ms", "ms", lambda each: append_percentile_ms(each.append, 99)),
    Measure("append_max_ms", "ms", lambda each: each.append.append_ms[-1], "most"),
    Measure("latency_p50_ms", "ms", lambda each: each.bulk.latency_p50_ms),
    Measure("latency_p99_ms", "ms", lambda each: each.bulk.latency_p99_ms),
    Measure("strict_latency_p50_ms", "ms", lambda each: each.strict.latency_p50_ms),
    Measure("strict_latency_p99_ms", "ms", lambda each: each.strict.latency_p99_ms),
)


def figures_of(rounds: Sequence[DeliveryRound]) -> list[Figure]:
    """Ratios within each round, then one number over all rounds."""
    return [over_rounds(measure, rounds) for measure in MEASURES]


def backlog_figures(run: BacklogRun) -> list[Figure]:
    """Measured once."""
    drained, took_s = run.second.acknowledged, run.second.took_s
    return [
        _once("backlog_rows", "", run.filled.rows),
        _once("backlog_file_mb", "MB", run.filled.file_mb),
        _once("backlog_stored_per_s", "1/s", run.filled.rows / run.filled.took_s),
        _once("backlog_open_s", "s", run.first.opened_s),
        _once("backlog_start_s", "s", run.first.start_s),
        _once("backlog_killed_start_s", "s", run.second.start_s),
        _once("backlog_drained_per_s", "1/s", drained / took_s),
        _once("backlog_peak_mb", "MB", max(run.first.peak_mb, run.second.peak_mb)),
        _once(
            "backlog_growth_mb",
            "MB",
            max(each.peak_mb - each.early_peak_mb for each in (run.first, run.second)),
        ),
    ]


def _once(name: str, unit: str, value: float) -> Figure:
    return Figure(name, unit, round(value, 6), (value,))
