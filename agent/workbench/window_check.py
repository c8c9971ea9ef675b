"""Whether a model of sensor windows is one, and how it scores what is normal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agent.adapters.onnx import load_model
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.session import SessionSettings, open_session
from agent.adapters.onnx.windows.metadata import MetadataError, read_window_metadata
from agent.domain.errors import RefusedError
from agent.workbench.recordings import Cutting, read_csv, simulate_faults, simulate_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

PERCENTILES: Final = {"least": 0, "p5": 5, "p50": 50, "p95": 95, "p99": 99, "most": 100}

_SIMULATED: Final = 400


@dataclass(frozen=True, slots=True)
class Description:
    """What the file says, and the kind that serves it."""

    kind: str
    window: int
    hop: int
    channels: tuple[str, ...]
    rate_hz: float
    normalisation: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Of normal windows. `false_alarms`: the share above the threshold.

    `percentiles` as PERCENTILES names them; `run_ms`: the median of one run.
    """

    source: str
    windows: int
    percentiles: dict[str, float]
    false_alarms: float
    run_ms: float


@dataclass(frozen=True, slots=True)
class WindowCheck:
    """`problems`: a sentence for each thing that is wrong; without any there are the other values.

    `faults_told`: the share of windows of a simulated fault above the threshold; None where nothing is
    simulated.
    """

    problems: tuple[str, ...]
    model: Description | None = None
    scores: Scores | None = None
    faults_told: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_windows(
    path: Path, *, csv: Path | None, count: int | None, progress: Callable[[int, int], None]
) -> WindowCheck:
    """Read the model's metadata, then score `count` normal windows: of `csv`, else of the simulated machine.

    `progress` is told how many windows of how many are done.

    Raises:
        RefusedError: the file is no ONNX file, or there are no normal windows for it.
        TransientError: the model failed on a window.
    """
    session = open_session(path, sha256=None, settings=SessionSettings())
    problems = _problems(session.metadata)
    if problems:
        return WindowCheck(problems)
    try:
        model = load_model(name=path.stem, path=path)
    except RefusedError as error:
        return WindowCheck((error.message,))
    if not isinstance(model, OnnxAnomaly):
        raise AssertionError("a file whose task is anomaly is an anomaly model")
    cutting = Cutting(model.window, model.hop, count)
    if csv is None:
        count = count or _SIMULATED
        values = simulate_sound(model.channels, model.rate_hz, cutting.samples(count))
    else:
        values = read_csv(csv, model.channels, cutting)
    total = len(range(0, len(values) - model.window + 1, model.hop))
    total = min(total, count) if count else total
    scored = _score(model, cutting.windows(values), lambda done: progress(done, total))
    faults_told = None
    if csv is None:
        told, _ = _score(model, simulate_faults(model.rate_hz, cutting, total), lambda _done: None)
        faults_told = float(np.mean(told > model.threshold))
    return WindowCheck((), _description(model), _scores(model, csv, *scored), faults_told)


def _problems(said: Any) -> tuple[str, ...]:
    task = said.get("task")
    if task not in {None, "anomaly"}:
        return (f"metadata task is {task}; for sensor windows anomaly would be right",)
    wrong = () if task else ("metadata task is missing; anomaly would be right",)
    try:
        read_window_metadata(said)
    except MetadataError as error:
        return (*wrong, *error.problems)
    return wrong


def _score(
    model: OnnxAnomaly, windows: Iterable[NDArray[np.float32]], progress: Callable[[int], None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each window the score, and the milliseconds of its run."""
    scores, took_ms = [], []
    for number, window in enumerate(windows, start=1):
        score, timed = model.score(window)
        scores.append(score)
        took_ms.append((timed.inferred_ns - timed.preprocessed_ns) / 1e6)
        progress(number)
    return np.array(scores), np.array(took_ms)


def _scores(
    model: OnnxAnomaly, csv: Path | None, scores: NDArray[np.float64], took_ms: NDArray[np.float64]
) -> Scores:
    return Scores(
        source="the simulated machine" if csv is None else str(csv),
        windows=len(scores),
        percentiles={name: float(np.percentile(scores, share)) for name, share in PERCENTILES.items()},
        false_alarms=float(np.mean(scores > model.threshold)),
        run_ms=float(np.median(took_ms)),
    )


def _description(model: OnnxAnomaly) -> Description:
    return Description(
        kind=model.kind.name,
        window=model.window,
        hop=model.hop,
        channels=model.channels,
        rate_hz=model.rate_hz,
        normalisation=model.normalisation,
        threshold=model.threshold,
    )
