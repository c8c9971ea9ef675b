"""What ONNX Runtime raises, and what it means in a sentence for a person."""

import re
from functools import cache
from pathlib import Path
from typing import Final

_OPSET: Final = re.compile(r"Opset (\d+) is under development.* till opset (\d+)", re.DOTALL)
_IR: Final = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_MESSAGE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed:)?(.*)", re.DOTALL
)
_PLACES: Final = re.compile(
    r"(?:/onnxruntime_src|[A-Z]:)\S*\.cc:\d+ .*?\bonnxruntime::[\w:]+(?:\([^()]*\))?(?: \[[^]]*\])? "
    r"| ; GPU=-?\d+ ; hostname=.*",
    re.DOTALL,
)
"""Where in its own source it failed, and on which host: longer than what it has to say."""

_LONGEST: Final = 300

_MEANS: Final = {
    "InvalidProtobuf": "is no ONNX file, or a damaged one",
    "NoModel": "holds no model",
    "InvalidGraph": "holds a graph that this ONNX Runtime cannot run",
    "NotImplemented": "needs an operator that this ONNX Runtime lacks",
}


_ZIP: Final = b"PK\x03\x04"
"""Source: APPNOTE.TXT of the zip format, 4.3.7."""


def why_no_model(path: Path) -> str | None:
    """The same, told from how a file begins, where the runtime's words would mislead; None where they serve.

    Raises:
        OSError: it cannot be read.
    """
    if path.is_dir():
        if (path / "model.yaml").is_file():
            return f"is a model package, not an ONNX file; its model is {path.name}/model.onnx"
        return "is a folder; an ONNX file is wanted"
    with path.open("rb") as file:
        begins = file.read(len(_ZIP))
    if not begins:
        return "is empty; an ONNX file is wanted"
    if begins == _ZIP:
        return f"is a model package, or another zip; its model is had by: unzip {path.name} model.onnx"
    return None


@cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """What the library raises: its classes share no root of their own, and its Python part adds two."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
    return (*own, RuntimeError, ValueError)


def why_refused(error: Exception) -> str:
    """The rest of a sentence that begins with the file's name, for an error while loading.

    >>> why_refused(RuntimeError("Unsupported model IR version: 99, max supported IR version: 14"))
    'was written with ONNX IR version 99; this ONNX Runtime reads up to 14: export it with an older onnx'
    """
    text = str(error)
    if found := _OPSET.search(text):
        return (
            f"uses opset {found[1]}; this ONNX Runtime knows opsets up to {found[2]}: "
            "export it with an older one"
        )
    if found := _IR.search(text):
        return (
            f"was written with ONNX IR version {found[1]}; this ONNX Runtime reads up to {found[2]}: "
            "export it with an older onnx"
        )
    meaning = _MEANS.get(type(error).__name__, "cannot be loaded by this ONNX Runtime")
    return f"{meaning} ({what_it_says(error)})"


def what_it_says(error: Exception) -> str:
    """The library's own words on one line, without its prefix and not without end.

    >>> what_it_says(RuntimeError("CUDA failure 35: driver too old ; GPU=-1 ; hostname=node ; expr=call()"))
    'CUDA failure 35: driver too old'
    """
    found = _MESSAGE.search(str(error))
    text = " ".join(_PLACES.sub("", found[1] if found else str(error)).split()).rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
