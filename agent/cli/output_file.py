"""A file that a command writes when it is done, and that it looks at before it begins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.domain.errors import Code, ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def need_writable(file: Path, *, option: str) -> None:
    """Better now than after an hour of work. Nothing is written yet.

    Raises:
        ConfigError: `file`, which `option` named, is a folder, or cannot be made or written.
    """
    try:
        if file.is_dir():
            raise _refusal(file, option, "it is a folder")
        if not file.parent.is_dir():
            raise _refusal(file, option, f"there is no folder {file.parent}")
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise _refusal(file, option, "Permission denied")
    except OSError as error:  # a folder on the way is closed to this user
        raise _refusal(file, option, error.strerror or str(error)) from error


def write_output(file: Path, text: str, *, option: str) -> None:
    """Replace what `file` holds.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _refusal(file, option, error.strerror or str(error)) from error


def _refusal(file: Path, option: str, why: str) -> ConfigError:
    return ConfigError(f"{option}: {file} cannot be written: {why}", code=Code.FILE, path=str(file))
