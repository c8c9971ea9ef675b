"""TensorRT for a model that CUDA serves meanwhile: the engine is built beside the agent, then opened in it.

Building takes minutes, and the builder has been seen to end its process, so it has one of its own.

Source: github.com/microsoft/onnxruntime/issues/21567
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Final, cast

import structlog

from agent.adapters import lifeline
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.engines import EngineCache, Range, shapes_for
from agent.adapters.onnx.gpu import read_gpu, tensorrt_version
from agent.adapters.onnx.serving import precision_of
from agent.adapters.onnx.session import (
    OnnxSession,
    SessionSettings,
    open_session,
    runtime_version,
    sha256_of,
)
from agent.domain.errors import Code, NanofleetError, TransientError
from agent.vision.letterbox import Size

log = structlog.get_logger(__name__)

BUILD_S: Final = 3600.0
"""A build that takes longer has failed: a Jetson needs minutes for the models that this agent is for."""

_TELL_S: Final = 10.0
_LOOK_S: Final = 0.25
_ENDING_S: Final = 5.0
_LAST_WORDS: Final = 300
_USUAL: Final = Size(384, 640)
"""Of a 16:9 camera at this family's usual longer side."""


class EngineUpgrade:
    """Fulfils `ports.ModelUpgrade` for one detector."""

    def __init__(
        self,
        *,
        serving: OnnxDetector,
        settings: SessionSettings,
        root: Path,
        command: Sequence[str] = (sys.executable, "-m", "agent.adapters.onnx.build_engine"),
        limit_s: float = BUILD_S,
    ) -> None:
        self._serving = serving
        self._command = tuple(command)
        self._limit_s = limit_s
        session = serving.session
        device = settings.accelerator.device
        self._cache = EngineCache(
            root,
            # Of the file that is opened: it may be a rewritten one.
            model_sha256=sha256_of(session.path),
            shapes=_shapes(serving),
            accelerator=settings.accelerator,
            gpu=read_gpu(device if isinstance(device, int) else 0),
            tensorrt=tensorrt_version(),
            onnxruntime=runtime_version(),
        )
        self._settings = replace(settings, provider="tensorrt", engine=self._cache.options())

    @property
    def serving(self) -> OnnxDetector:
        return self._serving

    def build(self, *, tell: Callable[[float], None], stop: threading.Event) -> OnnxDetector:
        """As the port says. An engine that an earlier run has built is opened at once."""
        if not self._cache.is_ready:
            self._cache.prepare()
            self._build_beside(tell, stop)
            self._cache.mark_ready()
        try:
            session = open_session(self._serving.session.path, sha256=None, settings=self._settings)
            return self._on(session)
        except NanofleetError:
            # Whole, yet it does not serve: never tried again as it is.
            self._cache.discard()
            raise

    def _on(self, session: OnnxSession) -> OnnxDetector:
        if session.provider_used != "tensorrt":
            raise TransientError(
                f"{session.path.name} was to run on tensorrt, but runs on {session.provider_used}",
                code=Code.PROVIDER,
            )
        precision = precision_of(session, asked=self._settings.accelerator.precision)
        return self._serving.on(session, precision=precision)

    def _build_beside(self, tell: Callable[[float], None], stop: threading.Event) -> None:
        """Raises: TransientError (it failed, took too long, or was stopped)."""
        name = self._serving.facts.name
        begun = time.monotonic()
        told = begun
        words = self._cache.folder / "build.log"
        log.info("engine.build_started", model=name, folder=str(self._cache.folder))
        tell(0.0)
        with words.open("wb") as output:
            child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=lifeline.tied(os.environ),
            )
        try:
            _hand_over(child, self._order())
            while (code := child.poll()) is None:
                now = time.monotonic()
                if now - begun > self._limit_s:
                    raise self._failed(f"did not end within {self._limit_s:.0f} s")
                if now - told >= _TELL_S:
                    told = now
                    log.info("engine.building", model=name, seconds=round(now - begun))
                    tell(now - begun)
                if stop.wait(_LOOK_S):
                    raise self._failed("was stopped")
        finally:
            _end(child)
        if code != 0:
            raise self._failed(f"failed: {_last_words(words) or f'exit code {code}'}")
        log.info("engine.built", model=name, seconds=round(time.monotonic() - begun, 1))

    def _failed(self, how: str) -> TransientError:
        return TransientError(
            f"the TensorRT engine of {self._serving.session.path.name} {how}", code=Code.PROVIDER
        )

    def _order(self) -> bytes:
        session = self._serving.session
        order = {
            "path": str(session.path),
            "settings": asdict(self._settings),
            "shapes": _shapes(self._serving).usual,
        }
        return json.dumps(order, default=str).encode()


def _shapes(detector: OnnxDetector) -> Range:
    shape = detector.input_shape
    longest, stride = shape.longest_px, shape.stride
    fixed = shape.fixed
    smallest = Size(stride, stride) if shape.resizable or fixed is None else fixed
    usual = Size(_USUAL.height_px * longest // _USUAL.width_px // stride * stride or stride, longest)
    return shapes_for(
        detector.session.inputs,
        least=smallest,
        usual=fixed or usual,
        greatest=fixed or Size(longest, longest),
        max_batch=detector.max_batch,
    )


def _hand_over(child: "subprocess.Popen[bytes]", order: bytes) -> None:
    """What to build. A child that is gone already tells why by its exit code."""
    try:
        with cast("IO[bytes]", child.stdin) as order_book:
            order_book.write(order)
    except OSError:
        log.debug("engine.child_gone", code=child.poll())


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        child.kill()
    child.wait(timeout=_ENDING_S)


def _last_words(words: Path) -> str:
    """The end of what the child said, on one line."""
    text = " ".join(words.read_text(encoding="utf-8", errors="replace").split())
    return text[-_LAST_WORDS:]
