"""From what the rounds measured to figures: ratios within each round, then one number over all rounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal, assert_never

from agent.report import Percentiles
from benchmarks.lanes import LanesName
from benchmarks.raw import RawRun
from benchmarks.whole_agent import AgentRun
from benchmarks.worker import WorkerRun

Rule = Literal["median", "most", "sum"]
RunName = Literal["one_lane", "all_lanes", "camera"]

RUNS: Final[tuple[RunName, ...]] = ("one_lane", "all_lanes", "camera")
PERCENTILES: Final = ("p50", "p95", "p99", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round measured.

    `added_ms`: what a frame takes with one lane from capture to detections, beyond a raw run. In the agent's
    run `camera` the video came by its own clock, with one lane.
    """

    raw: Mapping[LanesName, RawRun]
    worker: Mapping[LanesName, WorkerRun]
    added_ms: float
    agent: Mapping[RunName, AgentRun]

    @property
    def under_full_load(self) -> tuple[AgentRun, ...]:
        return self.agent["one_lane"], self.agent["all_lanes"]


@dataclass(frozen=True, slots=True)
class Measure:
    """How a figure comes of a round, and by `rule` of all rounds: peaks and longest blocks are the worst."""

    name: str
    unit: str
    of: Callable[[Round], float]
    rule: Rule = "median"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of all rounds, and what it was in each."""

    name: str
    unit: str
    value: float
    per_round: tuple[float, ...]


MEASURES: Final = (
    Measure(
        "memory_frames_over_raw", "x", lambda r: r.worker["all_lanes"].rate_hz / r.raw["all_lanes"].rate_hz
    ),
    Measure(
        "memory_frames_over_raw_one_lane",
        "x",
        lambda r: r.worker["one_lane"].rate_hz / r.raw["one_lane"].rate_hz,
    ),
    Measure("one_lane_added_ms", "ms", lambda r: r.added_ms),
    Measure("agent_over_raw_t2", "x", lambda r: r.agent["all_lanes"].rate_hz / r.raw["one_lane"].rate_hz),
    Measure(
        "agent_over_raw_one_lane", "x", lambda r: r.agent["one_lane"].rate_hz / r.raw["one_lane"].rate_hz
    ),
    Measure(
        "agent_over_raw_all_lanes", "x", lambda r: r.agent["all_lanes"].rate_hz / r.raw["all_lanes"].rate_hz
    ),
    Measure("raw_all_lanes_over_t2", "x", lambda r: r.raw["all_lanes"].rate_hz / r.raw["one_lane"].rate_hz),
    Measure("raw_one_lane_fps", "1/s", lambda r: r.raw["one_lane"].rate_hz),
    Measure("raw_all_lanes_fps", "1/s", lambda r: r.raw["all_lanes"].rate_hz),
    Measure("memory_frames_one_lane_fps", "1/s", lambda r: r.worker["one_lane"].rate_hz),
    Measure("memory_frames_all_lanes_fps", "1/s", lambda r: r.worker["all_lanes"].rate_hz),
    Measure("agent_one_lane_fps", "1/s", lambda r: r.agent["one_lane"].rate_hz),
    Measure("agent_all_lanes_fps", "1/s", lambda r: r.agent["all_lanes"].rate_hz),
    Measure("peak_mb_one_lane", "MB", lambda r: r.agent["one_lane"].report.peak_memory_mb, "most"),
    Measure("peak_mb_all_lanes", "MB", lambda r: r.agent["all_lanes"].report.peak_memory_mb, "most"),
    Measure("loop_lag_p99_ms", "ms", lambda r: max(a.report.loop_lag_p99_ms for a in r.under_full_load)),
    Measure(
        "loop_lag_max_ms", "ms", lambda r: max(a.report.loop_lag_max_ms for a in r.under_full_load), "most"
    ),
    Measure("messages_produced", "", lambda r: _messages(r, "produced"), "sum"),
    Measure("messages_acknowledged", "", lambda r: _messages(r, "acknowledged"), "sum"),
    Measure("messages_lost", "", lambda r: _messages(r, "lost"), "sum"),
    Measure("messages_missing", "", lambda r: sum(a.missing for a in r.agent.values()), "sum"),
    Measure("objects_per_frame", "", lambda r: r.agent["one_lane"].objects_per_frame),
    Measure("camera_frames_dropped", "", lambda r: _dropped(r.agent["camera"]), "sum"),
)


def figures_of(rounds: Sequence[Round]) -> list[Figure]:
    """Ratios, rates, memory, the loop, messages."""
    return [_over_rounds(measure, rounds) for measure in MEASURES]


def latencies_of(rounds: Sequence[Round]) -> list[Figure]:
    """`{run}_{stage}_{percentile}_ms` of each stage between capture and PUBACK, for the agent's runs."""
    return [
        _over_rounds(
            Measure(f"{run}_{stage}_{percentile}_ms", "ms", _latency(run, stage, percentile)), rounds
        )
        for run in RUNS
        for stage in stages_of(rounds, run)
        for percentile in PERCENTILES
    ]


def stages_of(rounds: Sequence[Round], run: RunName) -> list[str]:
    """The stages that every round timed, in their order."""
    told = [each.agent[run].report.latency_ms for each in rounds]
    return [stage for stage in told[0] if all(stage in other for other in told)]


def _over_rounds(measure: Measure, rounds: Sequence[Round]) -> Figure:
    per_round = tuple(measure.of(each) for each in rounds)
    return Figure(measure.name, measure.unit, round(_whole(measure.rule, per_round), 4), per_round)


def _whole(rule: Rule, per_round: tuple[float, ...]) -> float:
    match rule:
        case "median":
            return median(per_round)
        case "most":
            return max(per_round)
        case "sum":
            return sum(per_round)
        case never:
            assert_never(never)


def _latency(run: RunName, stage: str, percentile: str) -> Callable[[Round], float]:
    def read(each: Round) -> float:
        found: Percentiles = each.agent[run].report.latency_ms[stage]
        return float(getattr(found, percentile))

    return read


def _messages(each: Round, what: Literal["produced", "acknowledged", "lost"]) -> int:
    return sum(int(getattr(run.report.messages, what)) for run in each.agent.values())


def _dropped(run: AgentRun) -> int:
    return sum(sum(flow.dropped.values()) for flow in run.report.sources.values())
