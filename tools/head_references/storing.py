"""What a head must make of which outputs, as a small file that the tests read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCES = Path(__file__).resolve().parents[2] / "tests" / "vision" / "references"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the reference found: corners in pixels of the frame `[n, 4]`, confidences and classes `[n]`."""

    boxes: NDArray[Any]
    confidence: NDArray[Any]
    class_id: NDArray[Any]


def store(
    name: str, outputs: Mapping[str, NDArray[Any]], expected: Expected, facts: Mapping[str, Any]
) -> None:
    """Write `<name>.npz`: the outputs in order with their batch axis, what was expected of them, the facts.

    `facts` are what the file would say (`task`, `classes`, `inputs`, `said`), the sizes as height and width
    (`input_size`, `frame_size`), the threshold and the versions. Boxes are clipped to the frame, as ours are.
    """
    arrays: dict[str, Any] = {
        f"out_{index}": output.astype(np.float32) for index, output in enumerate(outputs.values())
    }
    said = {"outputs": list(outputs), **facts}
    height_px, width_px = facts["frame_size"]
    path = REFERENCES / f"{name}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        path,
        boxes=np.clip(expected.boxes.astype(np.float64), 0.0, [width_px, height_px] * 2),
        confidence=expected.confidence.astype(np.float32),
        class_id=expected.class_id.astype(np.int32),
        facts=np.array(json.dumps(said)),
        **arrays,
    )
    print(f"{path.name}: {len(expected.boxes)} detections, {path.stat().st_size / 1024:.0f} KB")
