"""Rewritten graphs kept on disk: made once by a child process, looked at before each use, bounded."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

from agent.adapters.durable import install_file
from agent.adapters.onnx.preparing import COMMAND, KilledError, Rewrite, prepare_in_child, why_impossible
from agent.adapters.onnx.skeleton import read_skeleton
from agent.domain.errors import Code, TransientError
from agent.ports import Graph
from agent.vision.heads.yolov8_cut import GRAPH_KEY

log = structlog.get_logger(__name__)

REWRITES_VERSION: Final = 1
"""Raise it when `agent.workbench.graph` writes something else, so that what it wrote before is not served."""

_TIME_LIMIT_S: Final = 120.0
_MOST_ENTRIES: Final = 16
_MOST_BYTES: Final = 1 << 30
_RETRY_AFTER_S: Final = 86_400.0
"""A child that failed would fail at every start, and cost its time limit."""

_STRAY_AFTER_S: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Served:
    """The file to load instead of the exported one, and the hash of that."""

    path: Path
    source_sha256: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """`sha256` of the graph beside it, None where the exported one serves. `failed`: the child did."""

    graph: Graph
    sha256: str | None
    reason: str
    failed: bool
    model: str


class PreparedGraphs:
    """The folder of rewritten graphs. `serve` blocks, for seconds where a graph has to be made.

    `KEY.json` is written last and says what `KEY.onnx` must hash to: a file that was damaged, or replaced
    by another process's, is noticed and made anew.
    """

    def __init__(
        self,
        *,
        folder: Path,
        time_limit_s: float = _TIME_LIMIT_S,
        most_bytes: int = _MOST_BYTES,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._folder = folder
        self._time_limit_s = time_limit_s
        self._most_bytes = most_bytes
        self._command = command

    def serve(
        self, model: Path, *, rewrite: Rewrite, runtime_version: str, sha256: str | None = None
    ) -> Served | None:
        """The rewritten graph of a model; None where the exported one is to be served, which is told why.

        Nothing is made of a file that is not the one with `sha256`.
        """
        if not _may_gain(model, rewrite):
            return None
        try:
            source = _digest(model)
        except OSError:
            return None  # whoever loads it says what is wrong
        if sha256 is not None and source != sha256.lower():
            return None
        name = f"{source} {rewrite} {REWRITES_VERSION} {runtime_version}"
        key = hashlib.sha256(name.encode()).hexdigest()[:32]
        try:
            entry = self._find(key) or self._make(key, model, rewrite)
        except OSError as error:
            _tell_unavailable(model, rewrite, f"{self._folder} cannot be used: {error.strerror}")
            return None
        except TransientError as error:
            _tell_unavailable(model, rewrite, error.message)
            return None
        if entry.failed:
            _tell_unavailable(model, rewrite, entry.reason)
        elif entry.graph != rewrite:
            log.info(
                "model.rewrite_does_not_apply",
                file=model.name,
                asked=rewrite,
                used=entry.graph,
                reason=entry.reason,
            )
        return Served(self._graph(key), source) if entry.sha256 else None

    def _find(self, key: str) -> _Entry | None:
        """An entry that can be served, or that says why there is nothing to serve."""
        try:
            entry = _Entry(**json.loads(self._note(key).read_text(encoding="utf-8")))
            whole = entry.sha256 is None or _digest(self._graph(key)) == entry.sha256
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            whole, entry = False, None
        if entry is None or not whole:
            log.warning("model.prepared_damaged", file=self._graph(key).name)
            return None
        if entry.failed and time.time() - self._note(key).stat().st_mtime > _RETRY_AFTER_S:
            return None
        if not entry.failed:
            # The time of the last use decides what is dropped; a disk that cannot be written keeps all.
            with suppress(OSError):
                os.utime(self._note(key))
        return entry

    def _make(self, key: str, model: Path, rewrite: Rewrite) -> _Entry:
        """Raises: TransientError (not here as it is now), OSError (the folder cannot be written)."""
        if (reason := why_impossible()) is not None:
            raise TransientError(reason, code=Code.MODEL)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._note(key).unlink(missing_ok=True)
        log.info("model.rewriting", file=model.name, rewrite=rewrite)
        graph = self._graph(key)
        try:
            outcome = prepare_in_child(
                model, rewrite=rewrite, out=graph, time_limit_s=self._time_limit_s, command=self._command
            )
            made = outcome.graph != "exported"
            entry = _Entry(outcome.graph, _digest(graph) if made else None, outcome.reason, False, model.name)
        except KilledError:
            raise  # not remembered: the next start tries again
        except TransientError as error:
            entry = _Entry("exported", None, error.message, True, model.name)
        _write_whole(self._note(key), json.dumps(asdict(entry)))
        self._drop_all_but(key)
        return entry

    def _drop_all_but(self, key: str) -> None:
        """Within the bounds, the latest used stay; and what an interrupted process left goes."""
        notes = sorted(
            (note for note in self._folder.glob("*.json") if note.stem != key),
            key=lambda note: note.stat().st_mtime,
            reverse=True,
        )
        used = _size(self._graph(key))
        for place, note in enumerate(notes):
            used += _size(self._graph(note.stem))
            if place + 1 >= _MOST_ENTRIES or used > self._most_bytes:
                note.unlink(missing_ok=True)
                self._graph(note.stem).unlink(missing_ok=True)
        now = time.time()
        for file in self._folder.iterdir():
            known = file.suffix == ".json" or (file.suffix == ".onnx" and self._note(file.stem).exists())
            if not known and now - file.stat().st_mtime > _STRAY_AFTER_S:
                file.unlink(missing_ok=True)

    def _graph(self, key: str) -> Path:
        return self._folder / f"{key}.onnx"

    def _note(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _may_gain(model: Path, rewrite: Rewrite) -> bool:
    """Whether there is anything to rewrite: most models need no child process to find out."""
    if rewrite == "off" or (skeleton := read_skeleton(model)) is None:
        return False
    if GRAPH_KEY in skeleton.metadata or skeleton.metadata.get("task") == "anomaly":
        return False
    axes = skeleton.softmax_axes
    return bool(axes) if rewrite == "cut" else bool(axes - {-1})


def _tell_unavailable(model: Path, rewrite: Rewrite, reason: str) -> None:
    log.warning("model.rewrite_unavailable", file=model.name, rewrite=rewrite, reason=reason)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing, whatever happens."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, suffix=".tmp", encoding="utf-8", delete=False
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    install_file(Path(file.name), path)
