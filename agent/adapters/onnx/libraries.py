"""The libraries under a provider: found where pip puts them, and named when one is missing."""

import ctypes
import importlib
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

_CUDA: Final = frozenset({"cuda", "tensorrt"})


def preload(runtime: Any, provider: str) -> None:
    """Let a CUDA provider find the libraries that were installed by pip; no other path leads to them.

    Source: onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html, "Preload DLLs".
    """
    load = getattr(runtime, "preload_dlls", None)
    if provider in _CUDA and load is not None:
        # What it misses it prints, and `why_not_loaded` finds again.
        with redirect_stdout(io.StringIO()):
            load()


def why_not_loaded(provider: str) -> str | None:
    """What the dynamic linker says of the provider's library; None where it loads, or is no file of its own.

    ONNX Runtime writes it to the standard error stream of the process, and goes on with the CPU.
    """
    package = importlib.import_module("onnxruntime").__file__
    if package is None:
        return None
    folder = Path(package).parent / "capi"
    library = folder / f"libonnxruntime_providers_{provider}.so"
    if not library.is_file():
        return None
    try:
        # The provider's library leans on this one, which has no name that the linker would find.
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"))
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return None
