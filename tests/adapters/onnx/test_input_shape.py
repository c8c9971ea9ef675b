from __future__ import annotations

from typing import Any

import pytest

from agent.adapters.onnx.input_shape import choose
from agent.vision.letterbox import Size

WIDE, TALL = Size(720, 1280), Size(1280, 720)


@pytest.mark.parametrize(
    ("shape", "sides", "said", "wide", "tall"),
    [
        ("file", (None, None), Size(640, 640), Size(640, 640), Size(640, 640)),
        ("file", (None, None), Size(384, 640), Size(384, 640), Size(384, 640)),
        ("file", (None, None), None, Size(640, 640), Size(640, 640)),
        ("file", (320, 416), Size(640, 640), Size(320, 416), Size(320, 416)),
        ("file", (320, None), Size(640, 608), Size(320, 608), Size(320, 608)),
        ("auto", (None, None), Size(640, 640), Size(384, 640), Size(640, 384)),
        ("auto", (None, None), None, Size(384, 640), Size(640, 384)),
        ("auto", (None, None), Size(256, 320), Size(192, 320), Size(320, 192)),
        ("auto", (320, 416), Size(640, 640), Size(320, 416), Size(320, 416)),
        ("auto", (320, None), Size(640, 640), Size(320, 640), Size(320, 640)),
        ((480, 640), (None, None), Size(640, 640), Size(480, 640), Size(480, 640)),
        ((320, 416), (320, 416), None, Size(320, 416), Size(320, 416)),
    ],
)
def test_choose_goes_by_what_is_fixed_then_asked_then_said(
    shape: Any, sides: Any, said: Size | None, wide: Size, tall: Size
) -> None:
    chosen = choose(shape, sides=sides, said=said, stride=32)
    assert (chosen.for_frame(WIDE), chosen.for_frame(TALL)) == (wide, tall)
