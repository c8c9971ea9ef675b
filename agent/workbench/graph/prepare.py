"""From a model file to its rewritten, proven twin."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from agent.adapters.durable import install_file
from agent.domain.errors import Code, ConfigError, RefusedError
from agent.workbench.graph.attempts import Exported, Rewrite, Step, attempt
from agent.workbench.graph.proof import Proof
from agent.workbench.graph.surgery import NotRewritableError
from agent.workbench.opening import open_detector

if TYPE_CHECKING:
    from onnx import ModelProto

_TRIED: Final[dict[Rewrite, tuple[Rewrite, ...]]] = {"cut": ("cut", "exact"), "exact": ("exact",)}
"""What is tried for what was asked, one after the other."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of a model. `graph` is ``exported`` where no file was written.

    `reasons`: why a rewrite did not apply, or was not proven.
    """

    graph: Literal["exported", "exact", "cut"]
    reasons: tuple[str, ...]
    source_sha256: str
    file: Path | None = None
    sha256: str | None = None
    proofs: tuple[Proof, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "graph": self.graph,
            "reasons": list(self.reasons),
            "source_sha256": self.source_sha256,
            "file": str(self.file) if self.file else None,
            "sha256": self.sha256,
            "proofs": [one.as_json() for one in self.proofs],
        }


def prepare(path: Path, *, rewrite: Rewrite, out: Path, on_step: Step = lambda _step: None) -> Prepared:
    """Write the rewritten model to `out`, at once as a whole, if it is proven to find the same.

    `cut` falls back to `exact` where it does not apply. Takes seconds; `on_step` hears what is done.

    Raises:
        RefusedError: nothing here serves the file, or `out` cannot be written.
        ConfigError: the package onnx is not installed.
    """
    on_step("reading")
    model, digest = _read(path)
    exported = Exported(model, open_detector(path, threads=2), digest)
    reasons: list[str] = []
    for kind in _TRIED[rewrite]:
        with _beside(out) as candidate:
            try:
                proofs = attempt(kind, exported, candidate, on_step=on_step)
            except NotRewritableError as error:
                reasons.append(f"{kind}: {error}")
                continue
            on_step("writing")
            written = _commit(candidate, out)
        return Prepared(kind, tuple(reasons), digest, out, written, proofs)
    return Prepared("exported", tuple(reasons), digest)


def _read(path: Path) -> tuple[ModelProto, str]:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ConfigError(
            "the package onnx is not installed; install nanofleet with the extra `models`", code=Code.FILE
        ) from error
    try:
        data = path.read_bytes()
        # Not onnx.load: what lies beside the file is not to be read.
        return onnx.load_model_from_string(data), hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be read: {error.strerror}; an ONNX file is wanted", code=Code.FILE
        ) from error
    except DecodeError as error:
        raise RefusedError(f"{path.name} is no ONNX file, or a damaged one", code=Code.MODEL) from error


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A file of another name in the same folder, gone afterwards unless it took its place."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{out.name}-", suffix=".tmp", dir=out.parent)
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise RefusedError(f"{out} cannot be written: {error.strerror}", code=Code.FILE) from error


def _commit(candidate: Path, out: Path) -> str:
    """Let the candidate take its place, whole and on disk; its SHA-256."""
    candidate.chmod(0o644)
    with candidate.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    install_file(candidate, out)
    return digest
