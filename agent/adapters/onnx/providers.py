"""ONNX Runtime's execution providers by a policy's names, and why the one asked for may be missing."""

from collections.abc import Sequence
from typing import Final

from agent.adapters.onnx.accelerator import DEFAULT, Accelerator, EngineOptions, check, options
from agent.domain.errors import Code, ConfigError

ProviderOptions = tuple[str, dict[str, str]]

_RUNTIME_NAME: Final = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
}

_COMES_WITH: Final = {
    "cuda": "the package onnxruntime-gpu (extra `gpu`) and the CUDA and cuDNN libraries of its release",
    "tensorrt": "the package onnxruntime-gpu (extra `gpu`) and the TensorRT libraries of its release",
    "openvino": "the package onnxruntime-openvino (extra `openvino`)",
    "migraphx": "an onnxruntime built for ROCm and MIGraphX",
}

# TensorRT leaves what it cannot compile to CUDA.
_BEHIND: Final = {"tensorrt": ("cuda",)}


def chain(
    asked: str,
    *,
    threads: int,
    available: Sequence[str],
    accelerator: Accelerator = DEFAULT,
    engine: EngineOptions | None = None,
) -> list[ProviderOptions]:
    """What to give a session: the provider asked for, those behind it, and the CPU last.

    Only what this build of ONNX Runtime has: the rest would be refused before the libraries are tried.

    Raises:
        ConfigError: there is no provider of that name, or it does not compute as `accelerator` asks.
    """
    if asked not in _RUNTIME_NAME:
        raise ConfigError(
            f"there is no provider {asked!r}; use one of {', '.join(_RUNTIME_NAME)}",
            code=Code.PROVIDER,
            path="provider",
        )
    check(asked, accelerator)
    wanted = dict.fromkeys((asked, *_BEHIND.get(asked, ()), "cpu"))
    named = [(name, _RUNTIME_NAME[name]) for name in wanted]
    return [
        (full, options(name, accelerator, threads=threads, engine=engine))
        for name, full in named
        if full in available
    ]


def is_built_in(name: str, available: Sequence[str]) -> bool:
    """Whether this build of ONNX Runtime knows the provider; its libraries may still be missing."""
    return _RUNTIME_NAME[name] in available


def name_of(in_use: Sequence[str]) -> str:
    """The policy's name of the provider that a session puts first.

    >>> name_of(["CUDAExecutionProvider", "CPUExecutionProvider"])
    'cuda'
    """
    by_runtime_name = {full: name for name, full in _RUNTIME_NAME.items()}
    return by_runtime_name.get(in_use[0], in_use[0])


def why_missing(asked: str, *, available: Sequence[str], failure: str | None) -> str:
    """One sentence for a person: what is missing, and what would be right."""
    comes_with = _COMES_WITH.get(asked, "another build of onnxruntime")
    if _RUNTIME_NAME[asked] not in available:
        built = ", ".join(name for name, full in _RUNTIME_NAME.items() if full in available)
        return f"this ONNX Runtime was built without {asked} (it has: {built}); it comes with {comes_with}"
    detail = f" ({failure})" if failure else ""
    return f"this ONNX Runtime has {asked}, but its libraries did not load{detail}; it needs {comes_with}"
