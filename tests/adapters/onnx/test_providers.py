from __future__ import annotations

import pytest

from agent.adapters.onnx.providers import chain, name_of, why_missing

CPU, CUDA, TENSORRT, OPENVINO = (
    f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt", "OpenVINO")
)


@pytest.mark.parametrize(
    ("asked", "available", "wanted"),
    [
        ("cpu", [CUDA, CPU], [CPU]),
        ("cuda", [TENSORRT, CUDA, CPU], [CUDA, CPU]),
        ("cuda", ["AzureExecutionProvider", CPU], [CPU]),
        ("tensorrt", [TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU]),
        ("tensorrt", [CUDA, CPU], [CUDA, CPU]),
    ],
)
def test_chain_is_what_was_asked_for_and_what_stands_behind_it(
    asked: str, available: list[str], wanted: list[str]
) -> None:
    assert [name for name, _ in chain(asked, threads=1, available=available)] == wanted


def test_openvino_computes_in_full_precision() -> None:
    (_, options), _ = chain("openvino", threads=2, available=[OPENVINO, CPU])
    assert (options["precision"], options["num_of_threads"]) == ("FP32", "2")


@pytest.mark.parametrize(
    ("in_use", "name"),
    [
        ([TENSORRT, CUDA, CPU], "tensorrt"),
        ([CPU], "cpu"),
        (["OddExecutionProvider", CPU], "OddExecutionProvider"),
    ],
)
def test_name_of_is_the_first_in_use(in_use: list[str], name: str) -> None:
    assert name_of(in_use) == name


def test_why_missing_tells_a_build_without_from_libraries_that_do_not_load() -> None:
    without = why_missing("cuda", available=[CPU], failure=None)
    assert "built without cuda (it has: cpu)" in without
    assert "onnxruntime-gpu" in without
    unloaded = why_missing("cuda", available=[CUDA, CPU], failure="libcudnn.so.9 is missing")
    assert "did not load (libcudnn.so.9 is missing)" in unloaded
    assert "cuDNN" in unloaded
