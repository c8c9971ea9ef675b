"""Real models, measured in real child processes; what they take is not judged here."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.domain.errors import RefusedError
from agent.workbench.bench.child import SHARES, STAGES
from agent.workbench.bench.rounds import Subject, measure
from agent.workbench.bench.setup import Setup
from tests.onnx_files import anomaly_metadata, colour_detector, reconstruction_model

ONE = Setup(lanes=1, threads=1)


def test_every_setup_is_measured_each_round_and_turned_back(tmp_path: Path) -> None:
    path = colour_detector(tmp_path / "colours.onnx", sides=(1, 3, 64, 96))
    told: list[str] = []
    pairs = [Setup(lanes=2, threads=1, arena=False, busy=1), Setup(lanes=1, threads=1, batch=2)]
    found = measure(Subject(path, seconds=0.05), pairs, rounds=2, progress=told.append)

    (figures,) = found.figures
    assert (figures.setup, figures.rounds) == (pairs[0], 2)
    measured = figures.measured
    assert measured.runs >= 2 * 2 * 3
    assert set(measured.stage_ms) == set(STAGES)
    for stage in STAGES:
        values = [measured.stage_ms[stage][share] for share in SHARES]
        assert values == sorted(values)
        assert values[0] >= 0
    assert measured.per_second > 0
    assert measured.peak_mb >= measured.libraries_mb > 0
    # What is refused once is not tried again, and told with its reason.
    assert found.refused == ((pairs[1], "its batch is fixed at 1"),)
    assert told == [str(pairs[0]), str(pairs[1]), str(pairs[0])]


def test_sensor_windows_are_measured_too(tmp_path: Path) -> None:
    path = reconstruction_model(tmp_path / "a.onnx", metadata=anomaly_metadata())
    found = measure(Subject(path, seconds=0.05), [ONE], rounds=1, progress=lambda _setup: None)
    assert found.figures[0].measured.stage_ms["all"]["p50"] > 0


def test_model_that_cannot_be_measured_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(RefusedError, match=r"none\.onnx"):
        measure(Subject(path, seconds=0.05), [ONE], rounds=1, progress=lambda _setup: None)
