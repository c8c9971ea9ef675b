"""The benchmark of delivery: its figures are of what it says, its subjects answer, the command runs."""

import json
import math
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.delivery.disk import file_system, syncs_per_s
from benchmarks.delivery.figures import GOALS, MEASURES, append_percentile_ms, backlog_figures, figures_of
from benchmarks.delivery.paced import metronome
from benchmarks.delivery.processes import run_subject
from benchmarks.delivery.rounds import BacklogRun, DeliveryRound
from benchmarks.delivery.tasks import BODY, Drained, Filled, Paced, Sent


def paced(*append_ms: float, latency_ms: float = 2.0) -> Paced:
    return Paced(
        append_ms=append_ms,
        latency_p50_ms=latency_ms,
        latency_p99_ms=latency_ms * 2,
        acknowledged=len(append_ms),
    )


def delivered(paho_hz: float, *, bulk: float, strict: float, append_ms: float = 0.5) -> DeliveryRound:
    return DeliveryRound(
        rates_hz={
            "paho": paho_hz,
            "bulk": paho_hz * bulk,
            "strict": paho_hz * strict,
            "mosquitto_pub": paho_hz * 2,
        },
        cpu_us={"paho": 60.0, "bulk": 120.0, "strict": 180.0},
        append=paced(append_ms, append_ms * 3),
        bulk=paced(0.1),
        strict=paced(0.1, latency_ms=4.0),
    )


def drained(*, start_s: float = 0.3, took_s: float = 0.1, peak_mb: float = 51.0) -> Drained:
    return Drained(
        opened_s=0.2,
        start_s=start_s,
        acknowledged=500,
        took_s=took_s,
        early_peak_mb=50.0,
        peak_mb=peak_mb,
        waiting=0,
        lacking=0,
    )


def test_ratios_are_within_a_round_and_the_longest_append_is_of_all() -> None:
    rounds = [
        delivered(10_000, bulk=0.6, strict=0.4, append_ms=0.5),
        delivered(5_000, bulk=0.4, strict=0.3, append_ms=4.0),
        delivered(20_000, bulk=0.5, strict=0.2, append_ms=0.6),
    ]

    values = {figure.name: figure.value for figure in figures_of(rounds)}

    assert values["durable_over_paho"] == pytest.approx(0.5)
    assert values["strict_over_paho"] == pytest.approx(0.3)
    assert values["mosquitto_pub_over_paho"] == pytest.approx(2.0)
    assert values["paho_per_s"] == 10_000
    assert values["durable_per_s"] == 6_000
    assert values["append_max_ms"] == 12.0
    assert values["append_p50_ms"] == 0.6
    assert (values["latency_p99_ms"], values["strict_latency_p50_ms"]) == (4.0, 4.0)


def test_a_percentile_is_a_sample_below_which_so_many_lie() -> None:
    samples = paced(*(float(number) for number in range(1, 101)))
    assert append_percentile_ms(samples, 50) == 50.0
    assert append_percentile_ms(samples, 99) == 99.0


def test_the_backlog_tells_the_worse_growth_and_both_starts() -> None:
    run = BacklogRun(
        filled=Filled(rows=1_000, took_s=0.5, file_mb=1.0),
        first=drained(start_s=0.4, peak_mb=50.5),
        second=drained(start_s=1.5, peak_mb=58.0, took_s=0.25),
    )
    values = {figure.name: figure.value for figure in backlog_figures(run)}
    assert (values["backlog_start_s"], values["backlog_killed_start_s"]) == (0.4, 1.5)
    assert values["backlog_growth_mb"] == 8.0
    assert (values["backlog_stored_per_s"], values["backlog_drained_per_s"]) == (2_000, 2_000)


def test_each_goal_is_of_a_figure() -> None:
    run = BacklogRun(filled=Filled(rows=1, took_s=1.0, file_mb=1.0), first=drained(), second=drained())
    names = {measure.name for measure in MEASURES} | {figure.name for figure in backlog_figures(run)}
    assert GOALS.keys() <= names


def test_a_message_has_400_bytes_and_is_one_line_of_a_stream() -> None:
    assert len(BODY) == 400
    assert b"\n" not in BODY
    assert json.loads(BODY)["v"] == 1


def test_a_metronome_writes_when_it_ticked() -> None:
    reading, writing = os.pipe()
    began_ns = time.monotonic_ns()
    try:
        metronome(1_000, 0.005)(writing)
        ticks = [ticked for (ticked,) in struct.iter_unpack("=q", os.read(reading, 4_096))]
    finally:
        os.close(reading)
        os.close(writing)
    assert len(ticks) == 5
    assert began_ns <= ticks[0] < ticks[-1] <= time.monotonic_ns()
    assert ticks[-1] - began_ns >= 3_900_000


def test_a_subject_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(RuntimeError, match="exit code"):
        run_subject("benchmarks.delivery.paho_alone", Sent(1, 1.0), Sent, within_s=30)


def test_the_disk_under_a_folder_is_told(tmp_path: Path) -> None:
    assert file_system(Path("/proc")) == "proc"
    assert file_system(tmp_path / "not" / "there") == file_system(tmp_path)
    assert syncs_per_s(tmp_path, syncs=2) > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.broker
def test_the_command_writes_every_figure(tmp_path: Path) -> None:
    written = tmp_path / "delivery.json"
    words = [sys.executable, "-m", "benchmarks.delivery", "--quick", "--messages", "200", "--backlog", "2000"]
    subprocess.run([*words, "--folder", str(tmp_path), "--json", str(written)], check=True, timeout=120)
    told = json.loads(written.read_text())
    assert {measure.name for measure in MEASURES} <= told["figures"].keys()
    assert told["figures"]["backlog_rows"] == 2_000
    assert all(math.isfinite(value) for value in told["figures"].values())
    assert told["figures"]["durable_over_paho"] > 0
    assert told["environment"]["messages"] == 200
