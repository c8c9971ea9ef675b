"""The rendered conveyor as a camera."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.adapters.cameras.conveyor import ConveyorScene
from agent.adapters.pacing import Pacer

_RENDERING_S: Final = 5.0


class ConveyorCamera:
    """Fulfils `ports.FrameSource`: `rate_hz` pictures a second, `frames` in all, or without end.

    Frame number n of a source is picture n of the scene with the same size and seed, so whoever reads of it
    at the broker can ask `ConveyorScene` for the truth.
    """

    def __init__(
        self,
        *,
        width_px: int,
        height_px: int,
        rate_hz: float,
        seed: int,
        frames: int | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        self._size_px = (width_px, height_px)
        self._rate_hz = rate_hz
        self._seed = seed
        self._frames = frames
        self._pacer = pacer or Pacer()
        self._scene: ConveyorScene | None = None
        self._number = 0

    @property
    def patience_s(self) -> float:
        return 1 / self._rate_hz + _RENDERING_S

    def open(self) -> None:
        width_px, height_px = self._size_px
        self._scene = ConveyorScene(width_px=width_px, height_px=height_px, seed=self._seed)
        self._number = 0
        self._pacer.restart()

    def read(self) -> NDArray[np.uint8] | None:
        if self._scene is None or self._number == self._frames:
            return None
        pixels = self._scene.render(self._number)
        if not self._pacer.wait_until(self._number / self._rate_hz):
            return None
        self._number += 1
        return pixels

    def interrupt(self) -> None:
        self._pacer.interrupt()

    def close(self) -> None:
        self._scene = None
