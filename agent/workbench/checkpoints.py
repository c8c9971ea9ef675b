"""A trainer's checkpoint, opened only in a process of its own: exported, and asked what it finds.

The child (`agent.workbench.ultralytics_child`) needs the extra `export`; torch's memory and whatever the
checkpoint, a pickle, runs when it is opened stay with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.domain.detections import no_detections
from agent.domain.errors import Code, RefusedError
from agent.vision.letterbox import Size
from agent.workbench.golden import Expected, Golden, read_golden, write_golden
from agent.workbench.verification import FLOOR, MOST_OBJECTS

if TYPE_CHECKING:
    from agent.adapters.onnx.detector import OnnxDetector
    from agent.workbench.pictures import NamedPicture

LACKS_EXTRA: Final = 3
"""The child's exit status where the trainer's library is not installed."""

_TIMEOUT_S: Final = 1800.0
_SUFFIXES: Final = frozenset({".pt", ".pth"})

Child = Sequence[str]
"""The command that answers requests; its last argument is the request's file, which names the answer's."""

ULTRALYTICS: Final[Child] = (sys.executable, "-m", "agent.workbench.ultralytics_child")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What the exporter is asked. `size`: (height, width), None for what it was trained at.

    `dynamic`: the file takes any batch and size. `opset`: None for the exporter's choice.
    """

    size: tuple[int, int] | None = None
    dynamic: bool = True
    opset: int | None = None
    half: bool = False


def is_checkpoint(path: Path) -> bool:
    """By its name, as trainers do."""
    return path.suffix in _SUFFIXES


def export_checkpoint(
    checkpoint: Path, folder: Path, options: ExportOptions, *, child: Child = ULTRALYTICS
) -> Path:
    """The trainer's own exporter makes an ONNX file in `folder`.

    Raises:
        RefusedError: the checkpoint is missing, the extra is, or the exporter failed.
    """
    request = {"action": "export", "checkpoint": str(checkpoint.absolute()), **asdict(options)}
    answer = _ask(checkpoint, request, folder, child)
    made = folder / str(answer["file"])
    if not made.is_file():
        raise RefusedError(f"the exporter of {checkpoint.name} made no file", code=Code.MODEL)
    return made


def by_checkpoint(
    checkpoint: Path,
    pictures: Sequence[NamedPicture],
    *,
    detector: OnnxDetector,
    iou: float,
    child: Child = ULTRALYTICS,
) -> Golden:
    """What the trainer's own library finds with the checkpoint, letterboxed as `detector` does.

    Raises:
        RefusedError: as `export_checkpoint`.
    """
    with tempfile.TemporaryDirectory(prefix="nanofleet-checkpoint-") as name:
        folder = Path(name)
        asked = tuple(Expected(one.name, one.pixels, no_detections()) for one in pictures)
        write_golden(folder / "asked.npz", Golden("pictures", asked))
        sizes = [detector.input_shape.for_frame(Size(*one.pixels.shape[:2])) for one in pictures]
        request = {
            "action": "predict",
            "checkpoint": str(checkpoint.absolute()),
            "pictures": str(folder / "asked.npz"),
            "found": str(folder / "found.npz"),
            "sizes": [[size.height_px, size.width_px] for size in sizes],
            "confidence": FLOOR,
            "iou": iou,
            "most": MOST_OBJECTS,
        }
        _ask(checkpoint, request, folder, child)
        return read_golden(folder / "found.npz", beside=())


def _ask(checkpoint: Path, request: dict[str, Any], folder: Path, child: Child) -> dict[str, Any]:
    """Run the child on one request, and read its answer."""
    if not checkpoint.is_file():
        raise RefusedError(f"{checkpoint}: there is no such checkpoint", code=Code.FILE)
    asked, answer = folder / "request.json", folder / "answer.json"
    asked.write_text(json.dumps({**request, "answer": str(answer)}), encoding="utf-8")
    environment = {
        **os.environ,
        # Nothing is installed, fetched or reported behind anyone's back, and no settings are left behind.
        "YOLO_AUTOINSTALL": "false",
        "YOLO_OFFLINE": "true",
        "YOLO_CONFIG_DIR": str(folder),
    }
    try:
        done = subprocess.run(
            [*child, str(asked)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RefusedError(
            f"{checkpoint.name}: the trainer's library did not end within {_TIMEOUT_S / 60:.0f} minutes",
            code=Code.TIMEOUT,
        ) from error
    if done.returncode == LACKS_EXTRA:
        raise RefusedError(
            f"{checkpoint.name} is a trainer's checkpoint: opening it needs nanofleet with the extra "
            "`export`, best in an environment of its own",
            code=Code.MODEL,
        )
    if done.returncode != 0 or not answer.is_file():
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise RefusedError(
            f"{checkpoint.name}: the trainer's library could not {request['action']} it: {said[:300]}",
            code=Code.MODEL,
        )
    read: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return read
