"""The process that opens a checkpoint with Ultralytics: exports it, or tells what it finds in pictures.

    python -m agent.workbench.ultralytics_child REQUEST.json

The parent is `agent.workbench.checkpoints`. Only what any user of that library calls is called here.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agent.domain.detections import Detections
from agent.workbench.checkpoints import LACKS_EXTRA
from agent.workbench.golden import Expected, Golden, read_golden, write_golden


def main(request: dict[str, Any]) -> int:
    """Do what is asked, and write the answer. Returns the exit status."""
    try:
        from ultralytics import YOLO, __version__
    except ImportError:
        return LACKS_EXTRA
    answer = Path(request["answer"])
    if request["action"] == "export":
        # It writes beside what it reads.
        copied = Path(shutil.copy(request["checkpoint"], answer.parent))
        said = {"file": _export(YOLO(copied), request)}
    else:
        _predict(YOLO(request["checkpoint"]), request, version=__version__)
        said = {"file": request["found"]}
    answer.write_text(json.dumps(said), encoding="utf-8")
    return 0


def _export(model: Any, request: dict[str, Any]) -> str:
    options = {
        # Suppression and simplifying are the agent's own work (`nanofleet model prepare`).
        "simplify": False,
        "nms": False,
        "device": "cpu",
        "dynamic": request["dynamic"],
        "half": request["half"],
    }
    if request["size"] is not None:
        options["imgsz"] = request["size"]
    if request["opset"] is not None:
        options["opset"] = request["opset"]
    return Path(model.export(format="onnx", **options)).name


def _predict(model: Any, request: dict[str, Any], *, version: str) -> None:
    asked = read_golden(Path(request["pictures"]), beside=())
    found = []
    for one, size in zip(asked.pictures, request["sizes"], strict=True):
        (result,) = model.predict(
            one.pixels,
            imgsz=size,
            rect=False,  # padded to the whole input, as an exported file is fed
            conf=request["confidence"],
            iou=request["iou"],
            max_det=request["most"],
            device="cpu",
            verbose=False,
        )
        points = None
        if result.keypoints is not None:
            points = result.keypoints.data.cpu().numpy().astype(np.float64)
            if points.shape[-1] == 2:
                points = np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=-1)
        detections = Detections(
            boxes=result.boxes.xyxy.cpu().numpy().astype(np.float64),
            confidence=result.boxes.conf.cpu().numpy().astype(np.float32),
            class_id=result.boxes.cls.cpu().numpy().astype(np.int32),
            keypoints=points,
        )
        found.append(Expected(one.name, one.pixels, detections))
    who = f"{Path(request['checkpoint']).name} by ultralytics {version}"
    write_golden(Path(request["found"]), Golden(who, tuple(found)))


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
