"""How well the exported models do on what they never saw, run by the agent's own adapter."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.adapters.cameras.conveyor import ConveyorScene
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.load import load_model
from agent.adapters.sensors.vibration_signal import Fault, VibrationSignal
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from agent.workbench.average_precision import Scored, evaluate
from tools.demo_training.pictures import UNSEEN_OFFSET

# Average precision wants the whole curve, so nearly everything passes; the rest is the agent's default.
_THRESHOLDS = Thresholds(confidence=0.001)
_FORMATS = ((640, 480), (1280, 720))

_SIGNALS, _SIGNAL_S = 20, 600.0
_FAULT_EVERY_S, _FAULT_FOR_S = 60.0, 20.0


@dataclass(frozen=True, slots=True)
class DetectorFigures:
    """`ap50`, `ap50_95`: by class, in their order. `run_ms`: median of one picture on one core."""

    scenes: int
    parts: int
    map50: float
    map50_95: float
    ap50: list[float]
    ap50_95: list[float]
    run_ms: float


@dataclass(frozen=True, slots=True)
class VibrationFigures:
    """Rates over `windows` windows, each half over the one before.

    Windows that a fault's beginning or end cuts count only where most of them is faulty.
    """

    windows: int
    false_alarm_rate: float
    detection_rate: dict[str, float]
    threshold: float
    sound_score_median: float
    fault_score_median: dict[str, float]


def evaluate_detector(
    path: Path, *, scenes: int, seed: int, progress: Callable[[float], None]
) -> DetectorFigures:
    """Average precision over `scenes` pictures, each of a scene of its own seed, half 4:3 and half 16:9."""
    model = load_model(name="parts", path=path, threads=1)
    if not isinstance(model, OnnxDetector):
        raise ValueError(f"{path} is no detector")
    scored, run_ms = [], []
    for index in range(scenes):
        width, height = _FORMATS[index % 2]
        scene_seed = UNSEEN_OFFSET + seed * 10_000 + index
        scene = ConveyorScene(width_px=width, height_px=height, seed=scene_seed, shuffled=True)
        (found,), timed = model.detect([Look(pixels=scene.render(index), thresholds=_THRESHOLDS)])
        run_ms.append((timed.inferred_ns - timed.preprocessed_ns) / 1e6)
        truth = scene.truth(index)
        scored.append(Scored(found.boxes, found.confidence, found.class_id, truth.boxes, truth.class_id))
        progress((index + 1) / scenes)
    figures = evaluate(scored, model.facts.class_names)
    return DetectorFigures(
        scenes=scenes,
        parts=sum(len(picture.true_class_id) for picture in scored),
        map50=figures.map50,
        map50_95=figures.map50_95,
        ap50=[one.ap50 for one in figures.classes],
        ap50_95=[one.ap50_95 for one in figures.classes],
        run_ms=float(np.median(run_ms)),
    )


def evaluate_vibration(path: Path, *, seed: int, progress: Callable[[float], None]) -> VibrationFigures:
    """False alarms and detections over signals of ten minutes each, with seeds of their own."""
    model = load_model(name="vibration", path=path, threads=1)
    if not isinstance(model, OnnxAnomaly):
        raise ValueError(f"{path} is no anomaly model")
    scores: dict[str, list[float]] = {"sound": [], **{str(fault): [] for fault in Fault}}
    for number in range(_SIGNALS):
        signal = VibrationSignal(
            rate_hz=model.rate_hz,
            seed=UNSEEN_OFFSET + seed * 10_000 + number,
            fault_every_s=_FAULT_EVERY_S,
            fault_for_s=_FAULT_FOR_S,
        )
        samples = signal.samples(0, round(_SIGNAL_S * model.rate_hz))
        for first in range(0, len(samples) - model.window + 1, model.hop):
            state = _state(signal, first, model.window)
            if state is not None:
                scores[state].append(model.score(samples[first : first + model.window])[0])
        progress((number + 1) / _SIGNALS)
    by_state: dict[str, NDArray[np.float64]] = {state: np.array(each) for state, each in scores.items()}
    sound, faults = by_state.pop("sound"), by_state
    return VibrationFigures(
        windows=len(sound) + sum(len(each) for each in faults.values()),
        false_alarm_rate=float((sound > model.threshold).mean()),
        detection_rate={state: float((each > model.threshold).mean()) for state, each in faults.items()},
        threshold=model.threshold,
        sound_score_median=float(np.median(sound)),
        fault_score_median={state: float(np.median(each)) for state, each in faults.items()},
    )


def _state(signal: VibrationSignal, first: int, window: int) -> str | None:
    """What most of a window is: `sound` where all of it is, the fault where its middle is, else None.

    A fault is much longer than a window, so it holds most of it when it holds the middle.
    """
    at_first, at_middle, at_last = (
        signal.fault_at(first + offset) for offset in (0, window // 2, window - 1)
    )
    if at_middle is not None:
        return str(at_middle)
    return "sound" if at_first is None and at_last is None else None
