"""From what the rounds measured to figures: ratios within each round, then one number over all rounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Generic, Literal, TypeVar, assert_never

from agent.report import Percentiles
from benchmarks.footage import RATE_HZ
from benchmarks.lanes import LanesName, usable_cores
from benchmarks.peers.agreement import Agreement
from benchmarks.raw import RawRun
from benchmarks.runs import RUNS, RunName
from benchmarks.whole_agent import AgentRun
from benchmarks.worker import WorkerRun

Rule = Literal["median", "most", "sum"]

Measured = TypeVar("Measured")
"""What a benchmark measures in one round."""

PERCENTILES: Final = ("p50", "p95", "p99", "max")


@dataclass(frozen=True, slots=True)
class Pair:
    """A short block of raw runs, and one of the worker right before or after it."""

    raw: RawRun
    worker: WorkerRun


@dataclass(frozen=True, slots=True)
class PeerRound:
    """Frames a second of Ultralytics on the video; our time ÷ its own for feeding and for decoding."""

    exported_hz: float
    same_graph_hz: float
    letterbox: float
    letterbox_one_thread: float
    decode: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round measured.

    `memory`: frames from memory, as fast as can be; `alone`: one frame at a time, with one lane.
    `raw_t2_hz` is of the exported graph, the agent's run `same_graph` of the exact one, all else of the one
    that is served.
    """

    memory: Mapping[LanesName, Sequence[Pair]]
    alone: Sequence[Pair]
    raw_t2_hz: float
    agent: Mapping[RunName, AgentRun]
    peer: PeerRound | None

    def over_raw(self, lanes: LanesName) -> float:
        """The worker's rate ÷ the bare runtime's."""
        return median(pair.worker.rate_hz / pair.raw.rate_hz for pair in self.memory[lanes])

    def raw_hz(self, lanes: LanesName) -> float:
        return median(pair.raw.rate_hz for pair in self.memory[lanes])

    @property
    def added_ms(self) -> float:
        """What a frame takes with one lane from its capture to its detections, beyond a raw run."""
        return median(pair.worker.frame_ms - pair.raw.run_ms for pair in self.alone)

    def over_ideal(self, run: Literal["four_cameras", "eight_cameras"]) -> float:
        """The agent's rate ÷ what the cores could do if they did nothing but decode and infer.

        Decoding as its threads told it in this very run, a run of the model as it takes while all lanes work.
        """
        task, agent = RUNS[run], self.agent[run]
        decode_s = agent.report.latency_ms["capture"].p50 / 1e3
        run_s = median(pair.raw.run_ms for pair in self.memory["all_lanes"]) / 1e3
        wanted_hz = task.cameras * RATE_HZ
        ideal_hz = (usable_cores() - wanted_hz * decode_s) / run_s
        return agent.rate_hz / min(ideal_hz, wanted_hz)

    @property
    def under_full_load(self) -> tuple[AgentRun, ...]:
        return self.agent["one_lane"], self.agent["all_lanes"]


@dataclass(frozen=True, slots=True)
class Measure(Generic[Measured]):
    """How a figure comes of a round, and by `rule` of all rounds: peaks and longest blocks are the worst."""

    name: str
    unit: str
    of: Callable[[Measured], float]
    rule: Rule = "median"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of all rounds, and what it was in each."""

    name: str
    unit: str
    value: float
    per_round: tuple[float, ...]


def _rate_of(run: RunName) -> Callable[[Round], float]:
    return lambda each: each.agent[run].rate_hz


MEASURES: Final[tuple[Measure[Round], ...]] = (
    Measure("memory_frames_over_raw", "x", lambda r: r.over_raw("all_lanes")),
    Measure("memory_frames_over_raw_one_lane", "x", lambda r: r.over_raw("one_lane")),
    Measure("agent_over_raw_t2", "x", lambda r: r.agent["all_lanes"].rate_hz / r.raw_t2_hz),
    Measure("one_lane_added_ms", "ms", lambda r: r.added_ms),
    Measure("four_cameras_over_ideal", "x", lambda r: r.over_ideal("four_cameras")),
    Measure("eight_cameras_over_ideal", "x", lambda r: r.over_ideal("eight_cameras")),
    Measure("peak_mb_one_lane", "MB", lambda r: r.agent["one_lane"].report.peak_memory_mb, "most"),
    Measure("peak_mb_all_lanes", "MB", lambda r: r.agent["all_lanes"].report.peak_memory_mb, "most"),
    Measure(
        "peak_mb_four_cameras", "MB", lambda r: r.agent["four_cameras_one_lane"].report.peak_memory_mb, "most"
    ),
    Measure("fps_640x480", "1/s", lambda r: r.agent["vga"].rate_hz),
    Measure("peak_mb_640x480", "MB", lambda r: r.agent["vga"].report.peak_memory_mb, "most"),
    Measure("loop_lag_p99_ms", "ms", lambda r: max(a.report.loop_lag_p99_ms for a in r.under_full_load)),
    Measure(
        "loop_lag_max_ms", "ms", lambda r: max(a.report.loop_lag_max_ms for a in r.under_full_load), "most"
    ),
    Measure("agent_over_raw_all_lanes", "x", lambda r: r.agent["all_lanes"].rate_hz / r.raw_hz("all_lanes")),
    Measure("raw_all_lanes_over_one", "x", lambda r: r.raw_hz("all_lanes") / r.raw_hz("one_lane")),
    Measure("raw_t2_fps", "1/s", lambda r: r.raw_t2_hz),
    Measure("raw_one_lane_fps", "1/s", lambda r: r.raw_hz("one_lane")),
    Measure("raw_all_lanes_fps", "1/s", lambda r: r.raw_hz("all_lanes")),
    *(Measure(f"agent_{name}_fps", "1/s", _rate_of(name)) for name in RUNS),
    Measure("messages_produced", "", lambda r: _messages(r, "produced"), "sum"),
    Measure("messages_acknowledged", "", lambda r: _messages(r, "acknowledged"), "sum"),
    Measure("messages_lost", "", lambda r: _messages(r, "lost"), "sum"),
    Measure("messages_missing", "", lambda r: sum(a.missing for a in r.agent.values()), "sum"),
    Measure("objects_per_frame", "", lambda r: r.agent["one_lane"].objects_per_frame),
    Measure("camera_frames_dropped", "", lambda r: _dropped(r.agent["camera"]), "sum"),
)

PEER_MEASURES: Final[tuple[Measure[Round], ...]] = (
    Measure("agent_over_ultralytics", "x", lambda r: r.agent["all_lanes"].rate_hz / _peer(r).exported_hz),
    Measure(
        "agent_over_ultralytics_same_graph",
        "x",
        lambda r: r.agent["same_graph"].rate_hz / _peer(r).same_graph_hz,
    ),
    Measure(
        "agent_own_shape_over_ultralytics",
        "x",
        lambda r: r.agent["own_shape"].rate_hz / _peer(r).exported_hz,
    ),
    Measure("letterbox_over_ultralytics", "x", lambda r: _peer(r).letterbox),
    Measure("letterbox_one_thread_over_ultralytics", "x", lambda r: _peer(r).letterbox_one_thread),
    Measure("decode_over_ultralytics", "x", lambda r: _peer(r).decode),
    Measure("ultralytics_fps", "1/s", lambda r: _peer(r).exported_hz),
    Measure("ultralytics_same_graph_fps", "1/s", lambda r: _peer(r).same_graph_hz),
)


def figures_of(rounds: Sequence[Round]) -> list[Figure]:
    """Ratios, rates, memory, the loop, messages; the peer's where every round has them."""
    measures = [*MEASURES]
    if all(each.peer is not None for each in rounds):
        measures += PEER_MEASURES
    return [over_rounds(measure, rounds) for measure in measures]


def errors_of(agreement: Agreement | None) -> list[Figure]:
    """How far our detections are from Ultralytics' at most; measured once."""
    if agreement is None:
        return []
    return [
        Figure("box_error_px", "px", agreement.box_error_px, (agreement.box_error_px,)),
        Figure("confidence_error", "x", agreement.confidence_error, (agreement.confidence_error,)),
        Figure("objects_compared", "", agreement.objects, (agreement.objects,)),
    ]


def latencies_of(rounds: Sequence[Round]) -> list[Figure]:
    """`{run}_{stage}_{percentile}_ms` of each stage between capture and PUBACK, for the agent's runs."""
    return [
        over_rounds(Measure(f"{run}_{stage}_{percentile}_ms", "ms", _latency(run, stage, percentile)), rounds)
        for run in RUNS
        for stage in stages_of(rounds, run)
        for percentile in PERCENTILES
    ]


def stages_of(rounds: Sequence[Round], run: RunName) -> list[str]:
    """The stages that every round timed, in their order."""
    told = [each.agent[run].report.latency_ms for each in rounds]
    return [stage for stage in told[0] if all(stage in other for other in told)]


def _peer(each: Round) -> PeerRound:
    if each.peer is None:
        raise AssertionError("asked only where every round has the peer's")
    return each.peer


def over_rounds(measure: Measure[Measured], rounds: Sequence[Measured]) -> Figure:
    """One number over all rounds, by the measure's rule."""
    per_round = tuple(measure.of(each) for each in rounds)
    return Figure(measure.name, measure.unit, round(_whole(measure.rule, per_round), 6), per_round)


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
