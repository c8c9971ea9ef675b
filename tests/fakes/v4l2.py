"""A capture device as cv2.VideoCapture shows one, with limits of its own."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


class FakeDevice:
    """Gives `pictures`, then nothing. `grants` are properties that it has whatever is asked of it."""

    def __init__(
        self,
        pictures: Sequence[NDArray[np.uint8]] = (),
        *,
        opens: bool = True,
        grants: Mapping[int, float] | None = None,
    ) -> None:
        self._pictures = list(pictures)
        self._opens = opens
        self._grants = dict(grants or {})
        self._properties: dict[int, float] = {cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV"))}
        self.asked: list[int] = []
        self.released = 0

    def isOpened(self) -> bool:  # noqa: N802 as cv2 calls it
        return self._opens

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        return (True, self._pictures.pop(0)) if self._pictures else (False, None)

    def get(self, prop: int, /) -> float:
        return self._properties.get(prop, 0.0)

    def set(self, prop: int, value: float, /) -> bool:
        self.asked.append(prop)
        self._properties[prop] = self._grants.get(prop, value)
        return True

    def release(self) -> None:
        self.released += 1
