"""What several `nanofleet model` commands are asked in the same words."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import typer

_LEAST_SIDE_PX: Final = 32
_MOST_SIDE_PX: Final = 4096
"""As in a policy: beyond it one input alone takes 200 MB and more."""
_MOST_THREADS: Final = 256
"""ONNX Runtime starts as many as it is told: with 100,000 an inspection did not end within 100 s."""

ShapeOption = Annotated[
    str, typer.Option("--shape", help="The model's input: file, auto (the picture's aspect) or HEIGHTxWIDTH.")
]
ProviderOption = Annotated[
    str, typer.Option("--provider", help="Where it runs: cpu, cuda, tensorrt, openvino or migraphx.")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=_MOST_THREADS, help="Threads of a run. Default: all cores."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else.")]


def read_shape(text: str) -> Literal["file", "auto"] | tuple[int, int]:
    """`--shape` as a policy has it.

    Raises:
        typer.BadParameter: it is none.
    """
    match text:
        case "file" | "auto":
            return text
    height, _, width = text.partition("x")
    sides = tuple(int(side) for side in (height, width) if side.isdecimal() and len(side) <= 4)
    if len(sides) != 2 or not all(_LEAST_SIDE_PX <= side <= _MOST_SIDE_PX for side in sides):
        wanted = f"file, auto or HEIGHTxWIDTH, each from {_LEAST_SIDE_PX} to {_MOST_SIDE_PX}, is wanted"
        raise typer.BadParameter(f"{text!r}; {wanted}", param_hint="--shape")
    return sides
