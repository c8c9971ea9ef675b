"""What was found, shown: as JSON lines, as a table, as pictures with the boxes drawn in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from agent.contract.objects import to_objects
from agent.domain.errors import Code, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.contract.payloads import Object
    from agent.domain.detections import Detections
    from agent.workbench.shots import Shot

_KEEPS_SUFFIX = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


class Findings(Protocol):
    """Where findings go, picture by picture, in the order of the arguments."""

    def add(self, shot: Shot, found: Detections, class_names: Mapping[int, str]) -> None:
        """Raises: RefusedError (this one cannot be written)."""

    def finish(self) -> None: ...


class JsonLines:
    """One compact line a picture on stdout, flushed at once so that a pipe sees it."""

    def add(self, shot: Shot, found: Detections, class_names: Mapping[int, str]) -> None:
        line: dict[str, Any] = {"image": str(shot.path)}
        if shot.frame is not None:
            line["frame"] = shot.frame
        line |= {"width": shot.width_px, "height": shot.height_px}
        line["objects"] = [
            one.model_dump(mode="json", by_alias=True) for one in _objects(shot, found, class_names)
        ]
        print(json.dumps(line, separators=(",", ":")), flush=True)

    def finish(self) -> None:
        """Nothing is kept back."""


class Table:
    """A table for people: a row an object, in pixels."""

    def __init__(self) -> None:
        from rich.table import Table as RichTable

        self._table = RichTable()
        for title in ("picture", "frame", "class", "confidence", "box (px)", "keypoints"):
            numeric = title in {"frame", "confidence"}
            self._table.add_column(
                title,
                justify="right" if numeric else "left",
                no_wrap=title != "picture",
                overflow="fold",
            )

    def add(self, shot: Shot, found: Detections, class_names: Mapping[int, str]) -> None:
        from rich.markup import escape

        place = (escape(shot.path.name), "" if shot.frame is None else str(shot.frame))
        if not len(found):
            self._table.add_row(*place, "nothing", style="dim")
        for one, box in zip(_objects(shot, found, class_names), found.boxes.tolist(), strict=True):
            corners = " ".join(f"{side:.1f}" for side in box)
            points = str(len(one.keypoints)) if one.keypoints else ""
            self._table.add_row(*place, escape(one.class_name), f"{one.confidence:.3f}", corners, points)

    def finish(self) -> None:
        from rich.console import Console

        Console().print(self._table)


class Drawings:
    """Copies of the pictures in a folder, ``NAME-detected``, with what was found drawn in."""

    def __init__(self, folder: Path) -> None:
        """Raises: RefusedError (the folder cannot be made)."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RefusedError(f"cannot save into {folder}: {error.strerror}", code=Code.FILE) from error
        self._folder = folder
        self._stems: dict[Path, str] = {}

    def add(self, shot: Shot, found: Detections, class_names: Mapping[int, str]) -> None:
        import cv2

        from agent.vision.drawing import draw

        place = self._folder / self._name(shot)
        coded, data = cv2.imencode(place.suffix, draw(shot.pixels, found, class_names))
        try:
            if coded:
                place.write_bytes(data.tobytes())
        except OSError as error:
            raise RefusedError(f"cannot be saved as {place}: {error.strerror}", code=Code.FILE) from error

    def finish(self) -> None:
        """Every picture is written by now."""

    def _name(self, shot: Shot) -> str:
        suffix = shot.path.suffix.lower()
        if shot.frame is not None:
            return f"{self._stem(shot.path)}-{shot.frame:06d}-detected.jpg"
        return f"{self._stem(shot.path)}-detected{suffix if suffix in _KEEPS_SUFFIX else '.jpg'}"

    def _stem(self, path: Path) -> str:
        """The file's stem; with a number behind it where another folder's file has the same."""
        stem = self._stems.get(path)
        if stem is None:
            taken = set(self._stems.values())
            candidates = (
                path.stem if number == 1 else f"{path.stem}-{number}" for number in range(1, 1 << 20)
            )
            stem = self._stems[path] = next(one for one in candidates if one not in taken)
        return stem


def _objects(shot: Shot, found: Detections, class_names: Mapping[int, str]) -> tuple[Object, ...]:
    return to_objects(found, class_names, width_px=shot.width_px, height_px=shot.height_px)
