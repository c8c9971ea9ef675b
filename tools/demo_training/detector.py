"""Training of the parts detector and its export."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tools.demo_training.export import export_onnx
from tools.demo_training.network import ExportedDetector, PartsDetector
from tools.demo_training.objective import detector_loss
from tools.demo_training.pictures import LONG_SIDE_PX, Picture, batches

_LEARNING_RATE, _WEIGHT_DECAY, _WARM_UP_STEPS = 3e-3, 0.02, 250
_AVERAGE_OVER_STEPS = 600
_MAX_GRADIENT = 10.0


def train_detector(
    pictures: list[Picture],
    *,
    classes: int,
    epochs: int,
    batch_size: int,
    seed: int,
    bf16: bool,
    progress: Callable[[float, float], None],
) -> PartsDetector:
    """A trained detector in evaluation mode; `progress` hears the share done and the mean loss.

    AdamW with a cosine schedule; what is returned is the running average of the weights.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng((seed, 11))
    model = PartsDetector(classes=classes).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=_LEARNING_RATE,
        fused=True,
    )
    steps = epochs * sum(1 for _ in _plan(pictures, batch_size))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    step, recent = 0, math.nan
    for _ in range(epochs):
        for batch in batches(pictures, size=batch_size, rng=rng):
            images = torch.from_numpy(batch.images).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits, distances, centres = model(images)
            loss = detector_loss(
                logits=logits.float(),
                distances=distances.float(),
                centres=centres.float(),
                boxes=torch.from_numpy(batch.boxes),
                class_id=torch.from_numpy(batch.class_id),
                present=torch.from_numpy(batch.present),
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT)
            optimizer.step()
            schedule.step()
            step += 1
            _follow(average, model, step)
            recent = loss.item() if math.isnan(recent) else 0.98 * recent + 0.02 * loss.item()
            progress(step / steps, recent)
    return average


def export_detector(detector: PartsDetector, path: Path) -> None:
    """ONNX, fp32: `images [N, 3, H, W]` to `output0 [N, 4 + classes, A]`; N, H and W are free."""
    export_onnx(
        ExportedDetector(detector).eval(),
        torch.zeros(1, 3, LONG_SIDE_PX, LONG_SIDE_PX),
        path,
        inputs={"images": {0: "batch", 2: "height", 3: "width"}},
        outputs={"output0": {0: "batch", 2: "anchors"}},
    )


def _plan(pictures: list[Picture], batch_size: int) -> list[int]:
    """One entry a batch of an epoch."""
    heights: dict[int, int] = {}
    for picture in pictures:
        height = picture.pixels.shape[0]
        heights[height] = heights.get(height, 0) + 1
    return [height for height, count in heights.items() for _ in range(count // batch_size)]


def _rate(step: int, steps: int) -> float:
    if step < _WARM_UP_STEPS:
        return (step + 1) / _WARM_UP_STEPS
    done = (step - _WARM_UP_STEPS) / max(1, steps - _WARM_UP_STEPS)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _follow(average: nn.Module, model: nn.Module, step: int) -> None:
    """Moves the average a little towards the model; in the first steps, when little is known, by more."""
    keep = min(1 - 1 / _AVERAGE_OVER_STEPS, (1 + step) / (10 + step))
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    numbers = [(target, source) for target, source in pairs if target.dtype.is_floating_point]
    with torch.no_grad():
        torch._foreach_lerp_([t for t, _ in numbers], [s for _, s in numbers], 1 - keep)
        for target, source in pairs:
            if not target.dtype.is_floating_point:
                target.copy_(source)
