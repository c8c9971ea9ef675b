"""Our code on a GPU library that fails as the real one does (tests/stand_ins)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stand_ins import gpu

LOAD = """
import json, sys
from pathlib import Path
import numpy as np
from agent.adapters.onnx import load_model
from agent.domain.errors import NanofleetError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
path, provider, strict = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"
said = {}
try:
    model = load_model(name="colours", path=path, provider=provider, strict_provider=strict)
    said["used"] = model.facts.provider_used
    red = np.zeros((64, 96, 3), np.uint8)
    red[..., 2] = 255
    found, _ = model.detect([Look(red, Thresholds())])
    said["classes"] = found[0].class_id.tolist()
except NanofleetError as error:
    said |= {"error": type(error).__name__, "code": str(error.code), "message": error.message}
print(json.dumps(said))
"""


def load(
    tmp_path: Path, provider: str, *, strict: bool = False, wrong: str = ""
) -> tuple[dict[str, Any], str]:
    path = gpu.colour_model(tmp_path / "colours.onnx")
    result = gpu.run(LOAD, path, provider, strict, wrong=wrong)
    return result["said"], result["told"]


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_provider_that_works_is_used_without_a_word(tmp_path: Path, provider: str, strict: bool) -> None:
    said, told = load(tmp_path, provider, strict=strict)
    assert said["used"] == provider
    assert 0 in said["classes"]
    assert "fell_back" not in told


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_missing_libraries_end_on_the_cpu_loudly(tmp_path: Path, provider: str) -> None:
    said, told = load(tmp_path, provider, wrong="libraries-missing")
    assert said["used"] == "cpu"
    assert 0 in said["classes"]
    assert "model.provider_fell_back" in told
    assert "did not load" in told
    assert "extra `gpu`" in told


@pytest.mark.parametrize("wrong", ["libraries-missing", "driver-too-old"])
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_strictly_asked_nothing_else_serves(tmp_path: Path, provider: str, wrong: str) -> None:
    said, _ = load(tmp_path, provider, strict=True, wrong=wrong)
    assert (said["error"], said["code"]) == ("ConfigError", "E_PROVIDER")
    assert f"on {provider} and nothing else, but cpu would run it" in said["message"]


def test_a_driver_that_is_too_old_is_named(tmp_path: Path) -> None:
    said, told = load(tmp_path, "cuda", wrong="driver-too-old")
    assert said["used"] == "cpu"
    assert "CUDA driver version is insufficient for CUDA runtime version" in told


def test_nodes_that_the_provider_leaves_over_are_counted(tmp_path: Path) -> None:
    said, told = load(tmp_path, "cuda", wrong="nodes-on-cpu")
    assert said["used"] == "cuda"
    assert "model.nodes_fell_back" in told
    assert "cuda 60, cpu 3 (2 TopK, 1 NonMaxSuppression not on cuda)" in told


def test_strictly_asked_not_one_node_is_left_to_the_cpu(tmp_path: Path) -> None:
    said, _ = load(tmp_path, "cuda", strict=True, wrong="nodes-on-cpu")
    assert (said["error"], said["code"]) == ("ConfigError", "E_PROVIDER")
    assert "leave nodes to others: cuda 60, cpu 3" in said["message"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("out-of-memory", "Failed to allocate memory for requested buffer of size 104857600"),
        ("cudnn-mismatch", "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"),
    ],
)
def test_a_model_that_fails_in_its_first_run_is_refused_in_the_librarys_words(
    tmp_path: Path, wrong: str, words: str
) -> None:
    said, _ = load(tmp_path, "cuda", wrong=wrong)
    assert (said["error"], said["code"]) == ("RefusedError", "E_MODEL")
    assert words in said["message"]
    assert len(said["message"]) < 1000


def test_a_damaged_file_is_refused_whatever_the_provider(tmp_path: Path) -> None:
    path = tmp_path / "colours.onnx"
    path.write_bytes(b"not a model")
    for strict in (False, True):
        said = gpu.run(LOAD, path, "tensorrt", strict)["said"]
        assert (said["error"], said["code"]) == ("RefusedError", "E_MODEL")


def test_the_linkers_words_say_which_library_is_missing(tmp_path: Path) -> None:
    package = tmp_path / "onnxruntime"
    (package / "capi").mkdir(parents=True)
    (package / "__init__.py").touch()
    for name in ("shared", "cuda"):
        (package / "capi" / f"libonnxruntime_providers_{name}.so").write_bytes(b"no library" * 10)
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from agent.adapters.onnx.libraries import why_not_loaded\n"
        "print(json.dumps([why_not_loaded('cuda'), why_not_loaded('migraphx')]))"
    )
    cuda, migraphx = gpu.run(script, tmp_path)["said"]
    assert "libonnxruntime_providers_shared.so" in cuda
    assert migraphx is None
