"""Stands in for onnxruntime-gpu where there is no GPU: put `tests/stand_ins/onnxruntime_gpu` on PYTHONPATH.

A model is a JSON file (`tests/stand_ins/gpu.py` writes it). `ONNXRUNTIME_STAND_IN` says what goes wrong:

* `libraries-missing`: seen with onnxruntime-gpu 1.31.1 on a machine without CUDA: CUDA is listed as
  available, a line goes to standard error, and the session is made on the CPU without an exception;
  TensorRT raises.
* `driver-too-old`: cuda_call.cc, as told in onnxruntime/mobius issue 316.
* `cudnn-mismatch`: as told in Comfy-Org/ComfyUI issue 6102, when the first convolution runs.
* `out-of-memory`: as told in microsoft/onnxruntime issue 22702, when a run begins.
* `nodes-on-cpu`: some nodes are left to the CPU; strictly asked, 1.31.1 refuses with the sentence below.
* `engine-fails`: as told in microsoft/onnxruntime issue 21415.
* `engine-crashes`: the builder ends its process, as told in microsoft/onnxruntime issue 21567.

`ONNXRUNTIME_STAND_IN_GATE` names a file for which an engine's build waits.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxruntime.capi import onnxruntime_pybind11_state as state

__version__ = "1.31.1"

TENSORRT, CUDA, CPU = (f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU"))
_OPTIONS = {
    # The names are those in the libraries of onnxruntime-gpu 1.31.1.
    CUDA: {
        *("device_id", "gpu_mem_limit", "arena_extend_strategy", "cudnn_conv_algo_search"),
        *("cudnn_conv_use_max_workspace", "use_tf32"),
    },
    TENSORRT: {
        *("device_id", "trt_max_workspace_size", "trt_fp16_enable", "trt_bf16_enable"),
        *("trt_context_memory_sharing_enable", "trt_engine_cache_enable", "trt_engine_cache_path"),
        *("trt_engine_cache_prefix", "trt_timing_cache_enable", "trt_timing_cache_path"),
        *("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes"),
    },
    CPU: set(),
}


class ExecutionMode:
    ORT_SEQUENTIAL = 0


def disable_telemetry_events() -> None:
    """As the real one: nothing is sent."""


def get_available_providers() -> list[str]:
    return [TENSORRT, CUDA, CPU]


def preload_dlls() -> None:
    if _goes_wrong() == "libraries-missing":
        print("Failed to load libcublasLt.so.13: cannot open shared object file: No such file or directory")


class SessionOptions:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


class InferenceSession:
    def __init__(
        self,
        path: str,
        options: SessionOptions,
        *,
        providers: Sequence[tuple[str, Mapping[str, str]]],
        enable_fallback: int,
    ) -> None:
        assert not enable_fallback
        self._entries = options.entries
        self._model = _read(Path(path))
        self._chain = {name: dict(chosen) for name, chosen in providers}
        for name, chosen in self._chain.items():
            if unknown := set(chosen) - _OPTIONS[name]:
                raise state.InvalidArgument(f"Invalid options of {name}: {sorted(unknown)}")
        wanted = list(self._chain)
        strict = self._entries.get("session.disable_cpu_ep_fallback") == "1"
        if strict and CPU in wanted:
            raise state.InvalidArgument(
                "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Conflicting session configuration: explicitly "
                "added the CPU EP to the session, but also disabled fallback to the CPU EP via session "
                "configuration options."
            )
        self._providers = [name for name in wanted if name != CPU and _registers(name)] + [CPU]
        on_cpu = self._providers == [CPU] or _goes_wrong() == "nodes-on-cpu"
        if strict and on_cpu:
            raise state.Fail(
                "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the "
                "default CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
            )
        if self._providers[0] == TENSORRT:
            _build_engine(self._chain[TENSORRT])

    def get_providers(self) -> list[str]:
        return list(self._providers)

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(**each) for each in self._model["inputs"]]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(**each) for each in self._model["outputs"]]

    def get_modelmeta(self) -> SimpleNamespace:
        return SimpleNamespace(custom_metadata_map=self._model["metadata"])

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        assert self._entries["session.record_ep_graph_assignment_info"] == "1"
        parts = [_part(self._providers[0], ["Conv"] * 60)]
        if _goes_wrong() == "nodes-on-cpu":
            parts.append(_part(CPU, ["NonMaxSuppression", "TopK", "TopK"]))
        return parts

    def run(self, names: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Boxes as strong as the picture is red, green, blue: `[N, 4 + 3, 2]`, as `colour_detector` gives."""
        del names
        if self._providers[0] != CPU and (text := _FAILS_AT_RUN.get(_goes_wrong())):
            raise state.RuntimeException(text)
        pictures = feed[self._model["inputs"][0]["name"]]
        answer = np.zeros((len(pictures), 7, 2), np.float32)
        answer[:, :4] = [[48.0, 8.0], [32.0, 8.0], [20.0, 6.0], [10.0, 6.0]]
        answer[:, 4:, 0] = pictures.mean(axis=(2, 3))
        answer[:, 4:, 1] = answer[:, 4:, 0] / 2
        return [answer]


_FAILS_AT_RUN = {
    "cudnn-mismatch": (
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. "
        "Name:'Conv_0' Status Message: CUDNN failure 1002: CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH ; "
        "GPU=0 ; hostname=node ; "
        "file=/onnxruntime_src/onnxruntime/core/providers/cuda/cudnn_common.cc ; line=31 ; "
        "expr=cudnnCreateTensorDescriptor(&tensor_);"
    ),
    "out-of-memory": (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
        "Name:'/model.0/conv/Conv' Status Message: "
        "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* "
        "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, "
        "onnxruntime::WaitNotificationFn) Failed to allocate memory for requested buffer of size 104857600"
    ),
}


def _goes_wrong() -> str:
    return os.environ.get("ONNXRUNTIME_STAND_IN", "")


def _read(path: Path) -> dict[str, Any]:
    try:
        model: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise state.InvalidProtobuf(
            f"[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from {path} failed:Protobuf parsing "
            "failed."
        ) from None
    return model


def _registers(name: str) -> bool:
    """Whether the provider's library loads. Told on standard error, as the real one tells it."""
    match _goes_wrong(), name:
        case "libraries-missing", provider if provider == TENSORRT:
            raise RuntimeError(
                "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:729 void "
                "onnxruntime::python::"
                "RegisterTensorRTPluginsAsCustomOps(PySessionOptions&, const onnxruntime::ProviderOptions&) "
                "Please install TensorRT libraries as mentioned in the GPU requirements page, make sure "
                "they're in the PATH or LD_LIBRARY_PATH, and that your GPU is supported.\n"
            )
        case "libraries-missing", _:
            sys.stderr.write(
                "[W:onnxruntime:Default, onnxruntime_pybind_state.cc:1295 "
                "CreateExecutionProviderFactoryInstance] Failed to create CUDAExecutionProvider. "
                "Require cuDNN 9.* and CUDA 13.*. Please install all "
                "dependencies as mentioned in the GPU requirements page.\n"
            )
            return False
        case "driver-too-old", _:
            raise RuntimeError(
                "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:122 "
                "onnxruntime::CudaCall CUDA "
                "failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1 ; "
                "hostname=node ; expr=cudaSetDevice(info_.device_id); "
            )
    return True


def _build_engine(chosen: Mapping[str, str]) -> None:
    """From the cache, or built: which waits for the gate, and may fail."""
    engine = None
    if chosen.get("trt_engine_cache_enable") == "1":
        # A folder that is not there is refused; the name tells provider, graph and compute capability.
        folder = Path(chosen["trt_engine_cache_path"])
        prefix = chosen["trt_engine_cache_prefix"]
        engine = folder / f"{prefix}_TensorrtExecutionProvider_TRTKernel_graph_main_1_0_0_fp32_sm87.engine"
        if engine.is_file():
            return
    if gate := os.environ.get("ONNXRUNTIME_STAND_IN_GATE"):
        while not Path(gate).exists():
            time.sleep(0.02)
    if _goes_wrong() == "engine-fails":
        raise state.EPFail(
            "[ONNXRuntimeError] : 11 : EP_FAIL : TensorRT EP failed to create engine from network."
        )
    if _goes_wrong() == "engine-crashes":
        os.abort()
    if engine is not None:
        engine.write_bytes(b"engine")


def _part(provider: str, operators: Sequence[str]) -> SimpleNamespace:
    nodes = [SimpleNamespace(op_type=operator) for operator in operators]
    return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)
