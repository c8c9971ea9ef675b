"""On PYTHONPATH of an agent under test: does it harm from inside, without a change to it.

SIGUSR1 blocks the main thread, and with it the event loop, as a call that never returns would. SIGUSR2 prints
what stands in the file FAULTS_TOLD_FILE below Python, as a C library would, and raises it. With
FAULTS_MAXERROR_US the kernel says that the clock may be wrong by so much: whether it is kept at all.
"""

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any


def _block(_number: int, _frame: object) -> None:
    time.sleep(3600)


def _tell(_number: int, _frame: object) -> None:
    text = Path(os.environ["FAULTS_TOLD_FILE"]).read_text(encoding="utf-8")
    os.write(2, text.encode())
    raise RuntimeError(text)


class _Libc(ctypes.CDLL):
    """libc, but for adjtimex(2)."""

    def __getattr__(self, name: str) -> Any:
        return _adjtimex if name == "adjtimex" else super().__getattr__(name)


def _adjtimex(timex: Any) -> int:
    timex._obj.maxerror = int(os.environ["FAULTS_MAXERROR_US"])
    return 0


signal.signal(signal.SIGUSR1, _block)
signal.signal(signal.SIGUSR2, _tell)
if "FAULTS_MAXERROR_US" in os.environ:
    ctypes.CDLL = _Libc  # type: ignore[misc]
