"""Ultralytics in its own environment and process, asked from here."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.domain.detections import Detections

_HERE: Final = Path(__file__).resolve().parent
_ENVIRONMENT: Final = _HERE.parents[1] / ".venv-peers"
_REQUIREMENTS: Final = _HERE / "requirements.txt"
_MADE: Final = _ENVIRONMENT / ".made"
_ANSWER_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class PeerVideo:
    """Frames a second on a video, and the most memory of the process until then."""

    rate_hz: float
    peak_mb: float


class Peer:
    """A running peer; every question waits for its answer."""

    def __init__(self, process: "subprocess.Popen[str]", *, log: Path) -> None:
        self._process = process
        self._log = log

    def predict_video(self, model: Path, video: Path, size: tuple[int, int], *, warm_up: int) -> PeerVideo:
        answer = self._ask("predict_video", model=str(model), video=str(video), size=size, warm_up=warm_up)
        return PeerVideo(rate_hz=answer["rate_hz"], peak_mb=answer["peak_mb"])

    def letterbox_s(self, model: Path, pictures: Path, size: tuple[int, int], *, times: int) -> list[float]:
        """Seconds of each of `times` feedings."""
        answer = self._ask("letterbox", model=str(model), pictures=str(pictures), size=size, times=times)
        return list(answer["seconds"])

    def decode_s(
        self, model: Path, output: Path, size: tuple[int, int], frame: tuple[int, int], *, times: int
    ) -> list[float]:
        """Seconds of each of `times` decodings of an output stored as .npy."""
        answer = self._ask(
            "decode", model=str(model), output=str(output), size=size, frame=frame, times=times
        )
        return list(answer["seconds"])

    def detect(self, model: Path, pictures: Path, size: tuple[int, int]) -> list[Detections]:
        """What it finds in each of `pictures`, uint8 `[N, height, width, 3]` BGR stored as .npy."""
        found = self._ask("detect", model=str(model), pictures=str(pictures), size=size)["found"]
        return [_detections(each) for each in found]

    def versions(self) -> dict[str, str]:
        answer = self._ask("versions")
        return {name: str(answer[name]) for name in ("ultralytics", "torch")}

    def _ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both pipes were asked for")
        print(json.dumps({"ask": what, **arguments}), file=self._process.stdin, flush=True)
        timer = threading.Timer(_ANSWER_S, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise RuntimeError(f"the peer ended; its last words:\n{_tail(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def running_peer(folder: Path) -> Iterator[Peer]:
    """Ultralytics while the context lasts; its environment is made on first use, which takes minutes.

    Raises:
        RuntimeError: the environment cannot be made.
    """
    _make_environment()
    log = folder / "peer.log"
    with log.open("w") as words:
        process = subprocess.Popen(
            [str(_ENVIRONMENT / "bin" / "python"), str(_HERE / "ultralytics_peer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            cwd=folder,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(folder),
                "YOLO_OFFLINE": "true",
                "YOLO_VERBOSE": "false",
            },
        )
        try:
            yield Peer(process, log=log)
        finally:
            process.kill()
            process.communicate()


def _make_environment() -> None:
    wanted = _REQUIREMENTS.read_text()
    if _MADE.is_file() and _MADE.read_text() == wanted:
        return
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT)],
        [str(_ENVIRONMENT / "bin" / "pip"), "install", "--quiet", "-r", str(_REQUIREMENTS)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the peers' environment cannot be made: {done.stderr.strip()[-500:]}")
    _MADE.write_text(wanted)


def store_pictures(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    """Pictures of one size as the peer reads them."""
    np.save(path, np.stack(pictures))
    return path


def _detections(found: dict[str, Any]) -> Detections:
    return Detections(
        boxes=np.asarray(found["boxes"], np.float64).reshape(-1, 4),
        confidence=np.asarray(found["confidence"], np.float32),
        class_id=np.asarray(found["class_id"], np.int32),
    )


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-10:])
