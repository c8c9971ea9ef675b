"""The autoencoder that knows how a sound machine vibrates, its threshold and its rates."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agent.adapters.sensors.vibration_signal import CHANNELS, VibrationSignal
from tools.demo_training.export import export_onnx

RATE_HZ, WINDOW = 200.0, 128
_HIDDEN, _BOTTLENECK = 96, 12
_BATCH, _LEARNING_RATE = 256, 2e-3
_TRAIN_SIGNALS, _TRAIN_S = 24, 240.0
# The threshold lies this far above what the worst of the sound windows kept for it reaches.
_HEADROOM = 1.3
_FAULT_EVERY_S, _FAULT_FOR_S = 60.0, 20.0


@dataclass(frozen=True, slots=True)
class VibrationFigures:
    """Rates over windows of signals never seen; a window is faulty where most of its samples are."""

    windows: int
    false_alarms: float
    detected: dict[str, float]
    threshold: float
    sound_score_median: float
    fault_score_median: dict[str, float]


class Autoencoder(nn.Module):
    """Normalised windows `[N, window, channels]` to their reconstruction through a narrow place."""

    def __init__(self, *, window: int, channels: int) -> None:
        super().__init__()
        self.window, self.channels = window, channels
        flat = window * channels
        self.layers = nn.Sequential(
            nn.Linear(flat, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _BOTTLENECK),
            nn.Linear(_BOTTLENECK, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, flat),
        )

    def forward(self, window: Tensor) -> Tensor:
        flat: Tensor = self.layers(window.flatten(1))
        return flat.reshape(-1, self.window, self.channels)


def train_vibration(
    path: Path, *, seed: int, steps: int, progress: Callable[[float, float], None]
) -> dict[str, str]:
    """Writes the ONNX file and gives the metadata that belongs in it."""
    torch.manual_seed(seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small lose more to the threads' meetings than they gain
    rng = np.random.default_rng((seed, 21))
    signals = [
        _signal(seed * 10_000 + n, sound=True).samples(0, _samples(_TRAIN_S)) for n in range(_TRAIN_SIGNALS)
    ]
    everything = np.concatenate(signals)
    mean, std = everything.mean(0), everything.std(0)
    normalised = np.stack(signals).astype(np.float32)
    normalised = (normalised - mean) / std
    model = Autoencoder(window=WINDOW, channels=len(CHANNELS))
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        which = rng.integers(len(signals), size=_BATCH)
        start = rng.integers(normalised.shape[1] - WINDOW, size=_BATCH)
        batch = torch.from_numpy(normalised[which[:, None], start[:, None] + np.arange(WINDOW)])
        loss = nn.functional.mse_loss(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress((step + 1) / steps, loss.item())
    torch.set_num_threads(threads)
    export_onnx(
        model.eval(),
        torch.zeros(1, WINDOW, len(CHANNELS)),
        path,
        inputs={"window": {0: "batch"}},
        outputs={"reconstruction": {0: "batch"}},
    )
    kept = [_signal(seed * 10_000 + 5_000 + n, sound=True) for n in range(12)]
    windows = np.concatenate([_windows(s.samples(0, _samples(_TRAIN_S))) for s in kept])
    highest = float(_scores(path, windows, mean=mean, std=std).max())
    return {
        "description": "Vibration of a sound machine; a high reconstruction error is an anomaly",
        "task": "anomaly",
        "window": str(WINDOW),
        "channels": json.dumps(list(CHANNELS)),
        "rate_hz": f"{RATE_HZ:g}",
        "mean": json.dumps([round(float(v), 6) for v in mean]),
        "std": json.dumps([round(float(v), 6) for v in std]),
        "threshold": f"{highest * _HEADROOM:.4f}",
        "seed": str(seed),
    }


def evaluate_vibration(path: Path, *, seed: int, signals: int = 20) -> VibrationFigures:
    """False alarms and detections over `signals` signals of ten minutes, windows every half window."""
    meta = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    mean, std = (np.array(json.loads(meta[name])) for name in ("mean", "std"))
    threshold = float(meta["threshold"])
    scores: dict[str, list[NDArray[np.float64]]] = {"sound": [], "bearing": [], "imbalance": []}
    for number in range(signals):
        signal = _signal(seed * 10_000 + 9_000 + number, sound=False)
        windows = _windows(signal.samples(0, _samples(600.0)))
        states = np.array([_state(signal, index * WINDOW // 2) for index in range(len(windows))])
        score = _scores(path, windows, mean=mean, std=std)
        for state, group in scores.items():
            group.append(score[states == state])
    merged = {state: np.concatenate(group) for state, group in scores.items()}
    faults = {state: score for state, score in merged.items() if state != "sound"}
    return VibrationFigures(
        windows=sum(len(score) for score in merged.values()),
        false_alarms=float((merged["sound"] > threshold).mean()),
        detected={state: float((score > threshold).mean()) for state, score in faults.items()},
        threshold=threshold,
        sound_score_median=float(np.median(merged["sound"])),
        fault_score_median={state: float(np.median(score)) for state, score in faults.items()},
    )


def _signal(seed: int, *, sound: bool) -> VibrationSignal:
    return VibrationSignal(
        rate_hz=RATE_HZ, seed=seed, fault_every_s=_FAULT_EVERY_S, fault_for_s=0.0 if sound else _FAULT_FOR_S
    )


def _samples(seconds: float) -> int:
    return round(seconds * RATE_HZ)


def _state(signal: VibrationSignal, first: int) -> str:
    """Of a window: `sound` only when all of it is, the fault when most of it is, `between` for the rest."""
    # A fault is longer than a window: it holds most of it when it holds the middle.
    at_first, at_middle, at_last = (
        signal.fault_at(first + offset) for offset in (0, WINDOW // 2, WINDOW - 1)
    )
    if at_middle is not None:
        return str(at_middle)
    return "sound" if at_first is None and at_last is None else "between"


def _windows(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    views = np.lib.stride_tricks.sliding_window_view(samples, WINDOW, axis=0)[:: WINDOW // 2]
    return np.ascontiguousarray(views.transpose(0, 2, 1))


def _scores(
    path: Path, windows: NDArray[np.float32], *, mean: NDArray[np.floating], std: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Mean squared error between each normalised window and its reconstruction, as the agent computes it."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    normalised = ((windows - mean) / std).astype(np.float32)
    rebuilt = session.run(None, {"window": normalised})[0]
    return np.asarray(((normalised - rebuilt) ** 2).mean((1, 2)), np.float64)
