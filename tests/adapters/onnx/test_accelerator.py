"""What each provider is told, in its own words; and what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.onnx.accelerator import Accelerator, EngineOptions, check, options
from agent.domain.errors import Code, ConfigError

ENGINE = EngineOptions(
    Path("/engines/one"), Path("/engines/timings"), "a:1x3x32x32", "a:1x3x64x64", "a:4x3x96x96"
)


def told(provider: str, engine: EngineOptions | None = None, **asked: Any) -> dict[str, str]:
    accelerator = Accelerator(**asked)
    check(provider, accelerator)
    return options(provider, accelerator, threads=2, engine=engine)


def test_cuda_computes_in_full_precision_and_grows_by_what_is_needed() -> None:
    chosen = told("cuda")
    assert (chosen["use_tf32"], chosen["arena_extend_strategy"]) == ("0", "kSameAsRequested")
    assert (chosen["device_id"], chosen["cudnn_conv_algo_search"]) == ("0", "HEURISTIC")
    assert "gpu_mem_limit" not in chosen
    assert told("cuda", precision="tf32", device=1)["use_tf32"] == "1"


def test_a_bound_on_cudas_memory_is_in_bytes_and_spares_the_workspace() -> None:
    chosen = told("cuda", gpu_mem_limit_mb=512)
    assert chosen["gpu_mem_limit"] == str(512 * 1024 * 1024)
    assert chosen["cudnn_conv_use_max_workspace"] == "0"


def test_tensorrt_keeps_its_engine_and_knows_the_shapes() -> None:
    chosen = told("tensorrt", ENGINE, precision="fp16", gpu_mem_limit_mb=256)
    assert chosen["trt_fp16_enable"] == "1"
    assert chosen["trt_bf16_enable"] == "0"
    assert chosen["trt_max_workspace_size"] == str(256 * 1024 * 1024)
    assert (chosen["trt_engine_cache_enable"], chosen["trt_engine_cache_path"]) == ("1", "/engines/one")
    assert (chosen["trt_timing_cache_enable"], chosen["trt_timing_cache_path"]) == ("1", "/engines/timings")
    assert chosen["trt_profile_min_shapes"] == "a:1x3x32x32"
    assert chosen["trt_profile_opt_shapes"] == "a:1x3x64x64"
    assert chosen["trt_profile_max_shapes"] == "a:4x3x96x96"


def test_tensorrt_with_fixed_shapes_has_no_profile() -> None:
    chosen = told("tensorrt", EngineOptions(Path("/engines/one"), Path("/engines/timings")))
    assert not [name for name in chosen if "profile" in name]


def test_openvino_states_its_precision() -> None:
    assert told("openvino") == {"device_type": "CPU", "precision": "FP32", "num_of_threads": "2"}
    half = told("openvino", precision="bf16")
    assert json.loads(half["load_config"]) == {"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}
    assert told("openvino", precision="fp16", device="gpu") == {"device_type": "GPU", "precision": "FP16"}


def test_migraphx_computes_in_fp16_where_asked() -> None:
    chosen = told("migraphx", precision="fp16", device=1, gpu_mem_limit_mb=1024)
    assert (chosen["migraphx_fp16_enable"], chosen["device_id"]) == ("1", "1")
    assert chosen["migraphx_mem_limit"] == str(1 << 30)
    assert told("migraphx")["migraphx_fp16_enable"] == "0"


def test_the_cpu_needs_no_options() -> None:
    assert told("cpu") == {}


@pytest.mark.parametrize(
    ("provider", "asked", "path", "right"),
    [
        ("cpu", {"precision": "fp16"}, "precision", "use fp32"),
        ("cuda", {"precision": "fp16"}, "precision", "use fp32 or tf32"),
        ("tensorrt", {"precision": "tf32"}, "precision", "use fp32 or fp16 or bf16"),
        ("openvino", {"precision": "fp16"}, "precision", "use fp32 or bf16"),
        ("openvino", {"precision": "bf16", "device": "gpu"}, "precision", "use fp32 or fp16"),
        ("migraphx", {"precision": "bf16"}, "precision", "use fp32 or fp16"),
        ("openvino", {"device": 1}, "device", "use cpu, gpu or npu"),
        ("cuda", {"device": "gpu"}, "device", "use the number of a GPU"),
        ("cpu", {"device": 0}, "device", "leave device out"),
    ],
)
def test_what_a_provider_cannot_do_is_a_mistake_that_says_what_would_be_right(
    provider: str, asked: dict[str, Any], path: str, right: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        told(provider, **asked)
    assert (caught.value.code, caught.value.path) == (Code.PROVIDER, path)
    assert right in caught.value.message
