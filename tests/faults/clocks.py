"""A wall clock that is wrong, and steps; a kernel that says whether it is kept; and another boot."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.faults.intruder import MAXERROR_VARIABLE

DAY_S: Final = 86_400.0

_LIBRARY: Final = "*/faketime/libfaketimeMT.so.1"
_SYNCED_US: Final = 1_000
_UNSYNCED_US: Final = 16_000_000


class WrongClock:
    """Of one process, started with `environment`: off by what `set` says, at once and while it runs.

    The monotonic clock stays what it is, as on a real machine. Source: libfaketime's README.
    """

    def __init__(self, folder: Path, *, synced: bool) -> None:
        library = next(iter(Path("/usr/lib").glob(_LIBRARY)), None)
        assert library is not None, "install the Debian package faketime"
        self._file = folder / "faketime"
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            **kernel_says(synced=synced),
        }
        self.set(0.0)

    def set(self, offset_s: float) -> None:
        """Off by so many seconds from now on."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{offset_s:+.0f}\n")
        written.replace(self._file)

    def set_to_1970(self) -> None:
        """A minute after the beginning of Unix time: a board whose clock has no battery."""
        self.set(60.0 - time.time())


def kernel_says(*, synced: bool) -> Mapping[str, str]:
    """The environment of a process for which the wall clock is, or is not, kept right."""
    intruder = Path(__file__).with_name("intruder")
    return {"PYTHONPATH": str(intruder), MAXERROR_VARIABLE: str(_SYNCED_US if synced else _UNSYNCED_US)}


def another_boot(folder: Path, number: int) -> tuple[str, ...]:
    """What is put before a command that is to believe that the machine was started anew."""
    if os.geteuid() != 0:
        pytest.skip("only root can show a process another boot id")
    boot_id = folder / f"boot-{number}"
    boot_id.write_text(f"b0074b00-0000-4000-8000-{number:012}\n")
    mount = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", mount, str(boot_id))
