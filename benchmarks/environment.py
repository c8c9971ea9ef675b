"""Where figures were measured: without it they mean nothing."""

import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import psutil

from agent import __version__
from benchmarks.footage import HEIGHT_PX, RATE_HZ, WIDTH_PX, Footage
from benchmarks.lanes import usable_cores
from benchmarks.subject import Subject

_CPU_INFO: Final = Path("/proc/cpuinfo")
_BOARD: Final = Path("/proc/device-tree/model")
_RUNTIMES: Final = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")

Environment = dict[str, str | int | float | bool]


def describe_machine() -> Environment:
    """The machine and its libraries. Call it first: its load is that of others only before measuring."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "agent": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "onnxruntime": _runtime(),
    }


class OtherLoad:
    """What the rest of the machine did since this was made."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._began_busy_s = _others_busy_s()

    def cores(self) -> float:
        """How many cores, on average, worked for processes that are neither this one nor its children.

        Children count as ours once they have ended.
        """
        busy_s = _others_busy_s() - self._began_busy_s
        return round(max(busy_s, 0.0) / (time.monotonic() - self._began_s), 2)


def _others_busy_s() -> float:
    """Processor seconds of the whole machine less our own.

    Source: proc_stat(5); the time of guests is contained in that of users.
    """
    machine = psutil.cpu_times()
    busy = sum(machine) - machine.idle - machine.iowait - machine.guest - machine.guest_nice
    ours = os.times()
    return float(busy - (ours.user + ours.system + ours.children_user + ours.children_system))


def describe_run(subject: Subject, footage: Footage, *, broker: str) -> Environment:
    """What was measured, on what, with what."""
    return {
        "model": subject.path.name,
        "model_sha256": subject.sha256,
        "graph_served": subject.graph,
        "provider": subject.provider,
        "input": f"{subject.size.height_px}x{subject.size.width_px}",
        "video": f"{footage.codec} {WIDTH_PX}x{HEIGHT_PX} {RATE_HZ}/s",
        "video_frames": footage.frames,
        "broker": broker,
    }


def cpu_name(*, cpu_info: Path = _CPU_INFO, board: Path = _BOARD) -> str:
    """What the kernel calls it: the processor's name on x86, the board's on ARM, which names no processor."""
    for line in cpu_info.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    if board.is_file():
        return board.read_text(errors="replace").strip("\0\n ")
    return platform.machine()


def _runtime() -> str:
    """The release with the distribution's name, which says what it was built for."""
    import onnxruntime

    for name in _RUNTIMES:
        try:
            if version(name) == onnxruntime.__version__:
                return f"{onnxruntime.__version__} ({name})"
        except ModuleNotFoundError:  # not this one
            continue
    return str(onnxruntime.__version__)
