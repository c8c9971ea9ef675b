"""How a provider computes: precision, device and memory, in each provider's own words."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from agent.domain.errors import Code, ConfigError

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
Device = int | Literal["cpu", "gpu", "npu"]

_MIB: Final = 1 << 20
_WORKSPACE_MB: Final = 1024
"""What TensorRT's builder may use to try kernels, unless less is allowed altogether."""

_PRECISIONS: Final[dict[str, tuple[Precision, ...]]] = {
    "cpu": ("fp32",),
    "cuda": ("fp32", "tf32"),
    "tensorrt": ("fp32", "fp16", "bf16"),
    "openvino": ("fp32", "bf16"),
    "migraphx": ("fp32", "fp16"),
}
_PRECISIONS_OFF_CPU: Final[tuple[Precision, ...]] = ("fp32", "fp16")
"""OpenVINO's on its GPU and NPU. Asked for fp16 on a CPU it computes in bf16 without a word: measured in
onnxruntime-openvino 1.24.1, whose answers to f16 and bf16 were equal in every bit."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What a policy asks of the provider.

    `device` is the number of a GPU, or OpenVINO's kind of device; None takes the first GPU, for OpenVINO the
    CPU. `gpu_mem_limit_mb` bounds the provider's own arena; libraries below it take more.
    """

    precision: Precision = "fp32"
    device: Device | None = None
    gpu_mem_limit_mb: int | None = None


DEFAULT: Final = Accelerator()
"""The first device, in full precision, without a bound."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Where TensorRT keeps an engine, and for which shapes, as its options want them ("" if all fixed)."""

    folder: Path
    timings: Path
    least: str = ""
    usual: str = ""
    greatest: str = ""


def check(provider: str, accelerator: Accelerator) -> None:
    """Whether the provider can do what is asked.

    Raises:
        ConfigError: it computes in other precisions, or on other devices.
    """
    device = accelerator.device
    if provider == "openvino" and isinstance(device, int):
        raise ConfigError(
            f"openvino has no device {device}; use cpu, gpu or npu", code=Code.PROVIDER, path="device"
        )
    if provider == "cpu" and device not in {None, "cpu"}:
        raise ConfigError(
            f"the provider cpu has no device {device}; leave device out, or name another provider",
            code=Code.PROVIDER,
            path="device",
        )
    if provider in {"cuda", "tensorrt", "migraphx"} and isinstance(device, str):
        raise ConfigError(
            f"{provider} has no device {device}; use the number of a GPU, 0 for the first",
            code=Code.PROVIDER,
            path="device",
        )
    known = (
        _PRECISIONS_OFF_CPU
        if provider == "openvino" and device in {"gpu", "npu"}
        else _PRECISIONS.get(provider, ("fp32",))
    )
    if accelerator.precision not in known:
        where = "" if device is None else f" on {device}"
        raise ConfigError(
            f"{provider}{where} does not compute in {accelerator.precision}; use {' or '.join(known)}",
            code=Code.PROVIDER,
            path="precision",
        )


def options(
    provider: str, accelerator: Accelerator, *, threads: int, engine: EngineOptions | None = None
) -> dict[str, str]:
    """The provider's options, for one that `check` has let pass."""
    match provider:
        case "cuda":
            return _cuda(accelerator)
        case "tensorrt":
            return _tensorrt(accelerator, engine)
        case "openvino":
            return _openvino(accelerator, threads)
        case "migraphx":
            return _migraphx(accelerator)
        case _:
            return {}


def _cuda(accelerator: Accelerator) -> dict[str, str]:
    """Source: onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html."""
    limit_mb = accelerator.gpu_mem_limit_mb
    chosen = {
        "device_id": _number(accelerator),
        # The default doubles the arena at each step, on a board that shares its memory with the CPU.
        "arena_extend_strategy": "kSameAsRequested",
        # The default tries every kernel for each new input size, which stops a camera for seconds.
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "0" if limit_mb else "1",
        # On by default: it computes fp32 with ten bits of mantissa, and does not say so.
        "use_tf32": str(int(accelerator.precision == "tf32")),
    }
    return chosen | ({"gpu_mem_limit": str(limit_mb * _MIB)} if limit_mb else {})


def _tensorrt(accelerator: Accelerator, engine: EngineOptions | None) -> dict[str, str]:
    """Source: onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html."""
    workspace_mb = min(accelerator.gpu_mem_limit_mb or _WORKSPACE_MB, _WORKSPACE_MB)
    chosen = {
        "device_id": _number(accelerator),
        "trt_max_workspace_size": str(workspace_mb * _MIB),
        "trt_fp16_enable": str(int(accelerator.precision == "fp16")),
        "trt_bf16_enable": str(int(accelerator.precision == "bf16")),
        "trt_context_memory_sharing_enable": "1",
    }
    if engine is None:
        return chosen
    chosen |= {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engine.folder),
        "trt_engine_cache_prefix": "engine",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(engine.timings),
    }
    if engine.greatest:
        chosen |= {
            "trt_profile_min_shapes": engine.least,
            "trt_profile_opt_shapes": engine.usual,
            "trt_profile_max_shapes": engine.greatest,
        }
    return chosen


def _openvino(accelerator: Accelerator, threads: int) -> dict[str, str]:
    """`precision` knows FP32 and ACCURACY for a CPU; bf16 goes in by `load_config`, OpenVINO's own property.

    Source: onnxruntime.ai/docs/execution-providers/OpenVINO-ExecutionProvider.html.
    """
    device = str(accelerator.device or "cpu").upper()
    chosen = {"device_type": device, "precision": "FP16" if accelerator.precision == "fp16" else "FP32"}
    if device == "CPU":
        chosen["num_of_threads"] = str(threads)
    if accelerator.precision == "bf16":
        chosen["load_config"] = json.dumps({device: {"INFERENCE_PRECISION_HINT": "bf16"}})
    return chosen


def _migraphx(accelerator: Accelerator) -> dict[str, str]:
    """Source: onnxruntime.ai/docs/execution-providers/MIGraphX-ExecutionProvider.html."""
    chosen = {
        "device_id": _number(accelerator),
        "migraphx_fp16_enable": str(int(accelerator.precision == "fp16")),
        "migraphx_arena_extend_strategy": "kSameAsRequested",
    }
    if accelerator.gpu_mem_limit_mb:
        chosen["migraphx_mem_limit"] = str(accelerator.gpu_mem_limit_mb * _MIB)
    return chosen


def _number(accelerator: Accelerator) -> str:
    return str(accelerator.device or 0)
