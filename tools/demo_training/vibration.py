"""Training of the autoencoder that knows how a sound machine vibrates, and of its threshold."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agent.adapters.sensors.vibration_signal import CHANNELS, VibrationSignal
from tools.demo_training.export import export_onnx

RATE_HZ, WINDOW, HOP = 200.0, 128, 64
_HIDDEN, _BOTTLENECK = 96, 12
_BATCH, _LEARNING_RATE = 256, 2e-3
_SIGNALS, _KEPT_SIGNALS, _SIGNAL_S = 24, 12, 240.0
# The threshold lies this far above what the strangest of the kept sound windows reaches.
_HEADROOM = 1.25


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
    """Writes the ONNX file and gives the metadata that belongs in it.

    `progress` hears the share done and the loss.
    """
    torch.manual_seed(seed)
    # Layers this small lose more to the threads' meetings than they gain.
    torch.set_num_threads(1)
    rng = np.random.default_rng((seed, 21))
    samples = np.stack([_sound_samples(seed * 10_000 + number) for number in range(_SIGNALS)])
    mean, std = samples.mean((0, 1)), samples.std((0, 1))
    normalised = ((samples - mean) / std).astype(np.float32)
    model = Autoencoder(window=WINDOW, channels=len(CHANNELS))
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        which = rng.integers(_SIGNALS, size=_BATCH)
        first = rng.integers(normalised.shape[1] - WINDOW, size=_BATCH)
        batch = torch.from_numpy(normalised[which[:, None], first[:, None] + np.arange(WINDOW)])
        loss = nn.functional.mse_loss(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress((step + 1) / steps, loss.item())
    model.eval()
    export_onnx(
        model,
        torch.zeros(1, WINDOW, len(CHANNELS)),
        path,
        inputs={"window": {0: "batch"}},
        outputs={"reconstruction": {0: "batch"}},
    )
    kept = [_sound_samples(seed * 10_000 + _SIGNALS + number) for number in range(_KEPT_SIGNALS)]
    strangest = max(_highest_score(model, (each - mean) / std) for each in kept)
    return {
        "description": "Vibration of a sound machine; a high reconstruction error is an anomaly",
        "task": "anomaly",
        "window": str(WINDOW),
        "hop": str(HOP),
        "channels": json.dumps(list(CHANNELS)),
        "rate_hz": f"{RATE_HZ:g}",
        "mean": json.dumps([round(float(value), 6) for value in mean]),
        "std": json.dumps([round(float(value), 6) for value in std]),
        "threshold": f"{strangest * _HEADROOM:.4f}",
        "seed": str(seed),
    }


def _sound_samples(seed: int) -> NDArray[np.float32]:
    signal = VibrationSignal(rate_hz=RATE_HZ, seed=seed, fault_every_s=_SIGNAL_S, fault_for_s=0.0)
    return signal.samples(0, round(_SIGNAL_S * RATE_HZ))


def _highest_score(model: Autoencoder, normalised: NDArray[np.floating]) -> float:
    views = np.lib.stride_tricks.sliding_window_view(normalised, WINDOW, axis=0)[::HOP]
    windows = torch.from_numpy(np.ascontiguousarray(views.transpose(0, 2, 1), np.float32))
    with torch.no_grad():
        return float((model(windows) - windows).pow(2).mean((1, 2)).max())
