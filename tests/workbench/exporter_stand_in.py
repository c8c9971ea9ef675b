"""A stand-in for the child that opens checkpoints with Ultralytics: a "checkpoint" here is a JSON that says
which ONNX file the exporter makes, and by which ONNX file the trainer's library predicts.

It shows the flow around an exporter, not that Ultralytics exports well: that is the other test's, which runs
only where Ultralytics is installed.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from agent.domain.thresholds import Thresholds
from agent.ports import Look
from agent.workbench.checkpoints import LACKS_EXTRA
from agent.workbench.golden import Expected, Golden, read_golden, write_golden
from agent.workbench.opening import open_detector


def main(asked: Path) -> int:
    request = json.loads(asked.read_text())
    checkpoint = json.loads(Path(request["checkpoint"]).read_text())
    answer = Path(request["answer"])
    match checkpoint.get("act"):
        case "lacks":
            return LACKS_EXTRA
        case "fails":
            print("ValueError: this checkpoint cannot be traced", file=sys.stderr)
            return 1
        case "silent":
            return 0
        case "nothing":
            answer.write_text(json.dumps({"file": "never-made.onnx"}))
            return 0
    if request["action"] == "export":
        shutil.copy(checkpoint["exports"], answer.parent / "made.onnx")
        answer.write_text(json.dumps({"file": "made.onnx", "options": request}))
        return 0
    detector = open_detector(Path(checkpoint["predicts"]))
    thresholds = Thresholds(confidence=request["confidence"], iou=request["iou"], max_objects=request["most"])
    found = []
    for one in read_golden(Path(request["pictures"]), beside=()).pictures:
        (detections,), _ = detector.detect([Look(one.pixels, thresholds)])
        found.append(Expected(one.name, one.pixels, detections))
    write_golden(Path(request["found"]), Golden("the stand-in", tuple(found)))
    answer.write_text(json.dumps({"file": request["found"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
