"""From a trainer's checkpoint to an ONNX file that is known to find the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.domain.errors import Code, RefusedError
from agent.workbench.checkpoints import ULTRALYTICS, Child, ExportOptions, by_checkpoint, export_checkpoint
from agent.workbench.opening import open_detector
from agent.workbench.verification import Verification, verify

if TYPE_CHECKING:
    from agent.vision.agreement import Tolerance
    from agent.workbench.pictures import NamedPicture


@dataclass(frozen=True, slots=True)
class Exported:
    """`file` is there only if the verification agrees; whatever it held before is replaced then."""

    file: Path
    size_bytes: int
    verification: Verification


def export_model(
    checkpoint: Path,
    out: Path,
    *,
    options: ExportOptions,
    pictures: Sequence[NamedPicture],
    confidence: float,
    iou: float,
    tolerance: Tolerance,
    progress: Callable[[str], None] = lambda _: None,
    child: Child = ULTRALYTICS,
) -> Exported:
    """Export, hold the file against the checkpoint's own results, and only then put it in place.

    `progress` is told what is being done.

    Raises:
        RefusedError: the checkpoint or the extra is missing, the exporter failed, or nothing here decodes
            what it made.
    """
    if checkpoint.resolve() == out.resolve():
        raise RefusedError(f"{out} is the checkpoint itself; another name is wanted", code=Code.FILE)
    # In the folder of the result: on another file system it could not be put in place in one step.
    with tempfile.TemporaryDirectory(prefix=".nanofleet-export-", dir=out.absolute().parent) as name:
        progress(f"exporting {checkpoint.name}")
        made = export_checkpoint(checkpoint, Path(name), options, child=child)
        detector = open_detector(made)
        progress(f"asking {checkpoint.name} what it finds")
        wanted = by_checkpoint(checkpoint, pictures, detector=detector, iou=iou, child=child)
        verification = verify(
            detector,
            wanted.pictures,
            reference=wanted.reference,
            confidence=confidence,
            iou=iou,
            tolerance=tolerance,
            progress=lambda picture: progress(f"comparing {picture}"),
        )
        size_bytes = made.stat().st_size
        if verification.agrees:
            made.replace(out)
        return Exported(out, size_bytes, verification)
