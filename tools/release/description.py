"""release.json: what a release is, and the hash of each of its files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.release.wheelhouse import Wheelhouse
from tools.release.wheels import Wheel, sha256_of


def describe(
    folder: Path,
    *,
    project: Wheel,
    commit: str | None,
    created_s: int,
    wheelhouses: Iterable[Wheelhouse],
) -> dict[str, Any]:
    """The document for all that lies in `folder`."""
    created = datetime.fromtimestamp(created_s, UTC)
    return {
        "version": project.version,
        "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit,
        "wheel": project.path.name,
        "python_requires": project.metadata("Requires-Python"),
        "files": {
            path.name: {"sha256": sha256_of(path), "bytes": path.stat().st_size}
            for path in sorted(folder.iterdir())
        },
        "targets": {
            one.target.name: {
                "archive": one.archive,
                "platform": one.target.platform,
                "onnxruntime": one.onnxruntime,
            }
            for one in wheelhouses
        },
    }


def write_document(path: Path, document: dict[str, Any]) -> None:
    """JSON for machines that a person can read."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
