"""Which size a detector runs at: what its file fixes, what the policy asks, what the camera's aspect asks."""

from dataclasses import dataclass
from typing import Literal

from agent.vision.letterbox import Size, shrunk, size_for_aspect

Shape = Literal["file", "auto"] | tuple[int, int]

DEFAULT_SIZE = Size(640, 640)
"""For a file of open size that does not say `imgsz`: what this family is trained at unless told otherwise."""


@dataclass(frozen=True, slots=True)
class InputShape:
    """The size for every frame (`fixed`), or for each by its aspect with the longer side at `longest_px`.

    `resizable`: the file leaves both sides open, so that less than that size can be run.
    """

    fixed: Size | None
    longest_px: int
    stride: int
    resizable: bool = False

    def for_frame(self, frame: Size, *, scale: float = 1.0) -> Size:
        """`scale`, at most 1, makes it smaller by whole strides, if the file allows that."""
        if not self.resizable:
            scale = 1.0
        if self.fixed is not None:
            return shrunk(self.fixed, scale=scale, stride=self.stride)
        return size_for_aspect(frame, longest_px=round(self.longest_px * scale), stride=self.stride)


def choose(
    shape: Shape, *, sides: tuple[int | None, int | None], said: Size | None, stride: int
) -> InputShape:
    """The sizes for a model whose input has `sides` (height, width; None where open).

    `said` is the size that its file's metadata names.

    Raises:
        ValueError: the size asked for is not one that the model takes.
    """
    height, width = sides
    size = said or DEFAULT_SIZE
    resizable = height is None and width is None
    own = Size(height or size.height_px, width or size.width_px)
    if isinstance(shape, tuple):
        return InputShape(_asked(Size(*shape), sides=sides, stride=stride), max(shape), stride, resizable)
    # A side that the file fixes cannot follow the camera.
    if shape == "file" or height is not None or width is not None:
        return InputShape(own, max(own.height_px, own.width_px), stride, resizable)
    return InputShape(None, max(own.height_px, own.width_px), stride, resizable)


def _asked(asked: Size, *, sides: tuple[int | None, int | None], stride: int) -> Size:
    at = f"it cannot run at {asked.height_px}x{asked.width_px}"
    for name, side, fixed in (
        ("height", asked.height_px, sides[0]),
        ("width", asked.width_px, sides[1]),
    ):
        if fixed is not None and side != fixed:
            raise ValueError(
                f"{at}: its input's {name} is fixed to {fixed}; use shape: file, or a file with dynamic axes"
            )
        if fixed is None and (side < stride or side % stride):
            raise ValueError(f"{at}: the {name} must be a multiple of {stride}")
    return asked
