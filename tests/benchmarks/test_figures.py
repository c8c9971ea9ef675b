"""How figures come of rounds, and what is told of the machine."""

from pathlib import Path

import pytest

from agent.report import MessageFlow, Percentiles, RunReport, SourceFlow
from benchmarks.environment import cpu_name
from benchmarks.figures import Figure, Pair, PeerRound, Round, errors_of, figures_of, latencies_of
from benchmarks.lanes import both_lanes, rate_hz, usable_cores, warm_up_of
from benchmarks.peers.agreement import Agreement
from benchmarks.raw import RawRun
from benchmarks.runs import RUNS
from benchmarks.subject import default_model
from benchmarks.whole_agent import AgentRun
from benchmarks.worker import WorkerRun


def agent_run(fps: float, *, peak_mb: float = 100.0, longest_block_ms: float = 3.0) -> AgentRun:
    report = RunReport(
        version="0",
        seconds=1.0,
        lanes=1,
        sources={"camera": SourceFlow(offered=12, inferred=10, held=0, dropped={"replaced": 2})},
        messages=MessageFlow(produced=10, acknowledged=9, waiting=0, lost=1),
        sessions=1,
        latency_ms={
            "queue": Percentiles(count=10, p50=fps, p95=2.0, p99=3.0, max=4.0),
            "capture": Percentiles(count=10, p50=2.0, p95=2.0, p99=2.0, max=2.0),
        },
        loop_lag_p99_ms=1.0,
        loop_lag_max_ms=longest_block_ms,
        peak_memory_mb=peak_mb,
    )
    return AgentRun(rate_hz=fps, report=report, missing=0, objects_per_frame=0.0)


def measured(
    speed: float,
    *,
    peak_mb: float = 100.0,
    longest_block_ms: float = 3.0,
    added_ms: float = 1.0,
    peer: PeerRound | None = None,
) -> Round:
    """A round on a machine of that speed: the worker reaches 0.9 of raw, the agent 0.5."""
    runs = agent_run(speed / 2, peak_mb=peak_mb, longest_block_ms=longest_block_ms)
    pairs = {
        lanes: [
            Pair(RawRun(each * speed, 1e3 / speed), WorkerRun(0.9 * each * speed, 1e3 / speed + added_ms)),
        ]
        for lanes, each in (("one_lane", 1), ("all_lanes", 2))
    }
    return Round(
        memory=pairs,  # type: ignore[arg-type]
        alone=pairs["one_lane"],
        raw_t2_hz=speed,
        agent=dict.fromkeys(RUNS, runs) | {"camera": agent_run(15.0)},
        peer=peer,
    )


def by_name(figures: list[Figure]) -> dict[str, float]:
    return {figure.name: figure.value for figure in figures}


def test_ratios_hold_whatever_the_machine_does_between_rounds() -> None:
    values = by_name(figures_of([measured(10.0), measured(40.0), measured(20.0)]))

    assert values["memory_frames_over_raw"] == pytest.approx(0.9)
    assert values["agent_over_raw_t2"] == pytest.approx(0.5)
    assert values["agent_over_raw_all_lanes"] == pytest.approx(0.25)


def test_the_median_round_speaks_for_a_difference() -> None:
    rounds = [measured(10.0, added_ms=added_ms) for added_ms in (1.0, 30.0, 2.0)]

    assert by_name(figures_of(rounds))["one_lane_added_ms"] == pytest.approx(2.0)


def test_the_ideal_leaves_the_cores_that_decoding_takes_out() -> None:
    # 100 ms a run; 4 cameras at 15/s of 2 ms each take 0.12 of a core.
    values = by_name(figures_of([measured(10.0)]))

    assert values["four_cameras_over_ideal"] == pytest.approx(5.0 / ((usable_cores() - 0.12) / 0.1), rel=1e-4)


def test_a_peers_ratios_are_told_only_where_it_was_measured() -> None:
    peer = PeerRound(exported_hz=4.0, same_graph_hz=5.0, letterbox=0.3, letterbox_one_thread=0.4, decode=0.2)

    with_peer, without = (by_name(figures_of([measured(10.0, peer=each)])) for each in (peer, None))

    assert with_peer["agent_over_ultralytics"] == pytest.approx(1.25)
    assert with_peer["agent_over_ultralytics_same_graph"] == pytest.approx(1.0)
    assert not any("ultralytics" in name for name in without)


def test_what_was_not_compared_gives_no_error() -> None:
    assert errors_of(None) == []
    assert by_name(errors_of(Agreement(3, 2e-4, 1e-6)))["box_error_px"] == 2e-4


def test_the_worst_round_speaks_for_memory_and_for_the_loops_longest_block() -> None:
    rounds = [measured(10.0), measured(10.0, peak_mb=300.0, longest_block_ms=70.0), measured(10.0)]

    values = by_name(figures_of(rounds))

    assert (values["peak_mb_one_lane"], values["loop_lag_max_ms"]) == (300.0, 70.0)


def test_messages_of_all_runs_and_rounds_are_added_up() -> None:
    values = by_name(figures_of([measured(10.0), measured(10.0)]))

    assert (values["messages_produced"], values["messages_acknowledged"]) == (180.0, 162.0)
    assert values["messages_lost"] == 18.0
    assert values["camera_frames_dropped"] == 4.0


def test_a_latency_is_named_by_its_run_stage_and_percentile() -> None:
    values = by_name(latencies_of([measured(10.0), measured(20.0), measured(40.0)]))

    assert values["all_lanes_queue_p50_ms"] == 10.0
    assert values["camera_queue_max_ms"] == 4.0


def test_a_rate_leaves_the_warm_up_out() -> None:
    slow_start_ns = [0, 5_000_000_000, 5_100_000_000, 5_200_000_000, 5_300_000_000]

    assert rate_hz(slow_start_ns, warm_up=2) == pytest.approx(10.0)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        rate_hz([1, 2], warm_up=2)


@pytest.mark.parametrize(("frames", "lanes", "warm_up"), [(120, 2, 12), (12, 2, 4), (12, 8, 16)])
def test_every_lane_has_a_warm_up(frames: int, lanes: int, warm_up: int) -> None:
    assert warm_up_of(frames, lanes=lanes) == warm_up


def test_both_ways_to_share_the_cores_use_all_of_them() -> None:
    assert [each.lanes * each.threads for each in both_lanes(6).values()] == [6, 6]


def test_the_processor_is_told_by_name_and_an_arm_board_by_its_own(tmp_path: Path) -> None:
    x86, arm, board = tmp_path / "x86", tmp_path / "arm", tmp_path / "board"
    x86.write_text("processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\n")
    arm.write_text("processor\t: 0\nCPU part\t: 0xd07\n")
    board.write_bytes(b"NVIDIA Jetson Nano Developer Kit\0")

    assert cpu_name(cpu_info=x86, board=board) == "Example CPU @ 2 GHz"
    assert cpu_name(cpu_info=arm, board=board) == "NVIDIA Jetson Nano Developer Kit"


def test_the_demos_detector_takes_the_place_of_a_model_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NANOFLEET_TESTDATA", str(tmp_path))

    assert default_model().name == "parts.onnx"
