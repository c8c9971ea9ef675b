from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.domain.detections import Detections
from agent.domain.errors import RefusedError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from agent.workbench.graph.attempts import Rewrite
from agent.workbench.graph.prepare import prepare
from tests.onnx_files import anomaly_metadata, colour_detector, reconstruction_model
from tests.yolov8_files import BINS, yolov8_file


def found_in(path: Path) -> list[Detections]:
    model = load_model(name="model", path=path)
    assert isinstance(model, OnnxDetector)
    rng = np.random.default_rng(5)
    pictures = [rng.integers(0, 256, (120, 160, 3), np.uint8) for _ in range(4)]
    return [model.detect([Look(pixels, Thresholds(confidence=0.3))])[0][0] for pixels in pictures]


@pytest.mark.parametrize("keypoint_shape", [None, (4, 3), (3, 2)])
def test_a_cut_graph_finds_what_the_exported_one_finds(
    tmp_path: Path, keypoint_shape: tuple[int, int] | None
) -> None:
    model = yolov8_file(tmp_path / "model.onnx", keypoint_shape=keypoint_shape, class_bias=0.0)
    done = prepare(model, rewrite="cut", out=tmp_path / "cut.onnx")
    assert (done.graph, done.reasons) == ("cut", ())
    objects = 0
    for wanted, found in zip(found_in(model), found_in(tmp_path / "cut.onnx"), strict=True):
        assert found.class_id.tolist() == wanted.class_id.tolist()
        np.testing.assert_allclose(found.boxes, wanted.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.confidence, wanted.confidence, rtol=0, atol=1e-5)
        if wanted.keypoints is not None and found.keypoints is not None:
            np.testing.assert_allclose(found.keypoints, wanted.keypoints, rtol=0, atol=1e-3)
        assert (found.keypoints is None) == (keypoint_shape is None)
        objects += len(wanted)
    assert objects > 10


def test_an_exact_graph_finds_the_same_to_the_last_bit(tmp_path: Path) -> None:
    model = yolov8_file(tmp_path / "model.onnx")
    done = prepare(model, rewrite="exact", out=tmp_path / "exact.onnx")
    assert (done.graph, done.reasons) == ("exact", ())
    for wanted, found in zip(found_in(model), found_in(tmp_path / "exact.onnx"), strict=True):
        np.testing.assert_array_equal(found.boxes, wanted.boxes)
        np.testing.assert_array_equal(found.confidence, wanted.confidence)
    softmaxes = [node for node in onnx.load(tmp_path / "exact.onnx").graph.node if node.op_type == "Softmax"]
    assert [node.attribute[0].i for node in softmaxes] == [-1]


def test_a_cut_file_says_what_it_is(tmp_path: Path) -> None:
    model = yolov8_file(tmp_path / "model.onnx", classes=2)
    done = prepare(model, rewrite="cut", out=tmp_path / "cut.onnx")
    written = onnx.load(tmp_path / "cut.onnx")
    said = {entry.key: entry.value for entry in written.metadata_props}
    assert said["nanofleet_graph"] == "cut"
    assert said["nanofleet_head"] == '{"strides": [8, 16, 32], "bins": 16}'
    assert said["nanofleet_source_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert said["names"] == "{0: 'c0', 1: 'c1'}"
    assert done.sha256 == hashlib.sha256((tmp_path / "cut.onnx").read_bytes()).hexdigest()
    assert [output.name for output in written.graph.output] == ["box_logits", "class_logits"]
    assert {node.op_type for node in written.graph.node} == {"AveragePool", "Conv", "Reshape", "Concat"}


def test_the_proof_sees_boxes_that_count_also_where_the_model_finds_none(tmp_path: Path) -> None:
    model = yolov8_file(tmp_path / "model.onnx", class_bias=-40.0)
    done = prepare(model, rewrite="cut", out=tmp_path / "cut.onnx")
    plain, raised = done.proofs
    assert plain.found == 0
    assert raised.found > raised.boxes / 3
    assert all(proof.box_error_px <= 1e-3 and proof.confidence_error <= 1e-5 for proof in done.proofs)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"keypoint_shape": (4, 3), "keypoint_gain": 2.001}, "cut: the rewritten graph's boxes are off by"),
        ({"bins": np.arange(BINS, dtype=np.float32) * 2}, "cut: its boxes are no expectation over bins"),
    ],
    ids=["other keypoints", "other bins"],
)
def test_a_graph_that_only_looks_like_the_family_is_rewritten_exactly_instead(
    tmp_path: Path, options: dict[str, object], why: str
) -> None:
    model = yolov8_file(tmp_path / "model.onnx", **options)  # type: ignore[arg-type]
    done = prepare(model, rewrite="cut", out=tmp_path / "out.onnx")
    assert done.graph == "exact"
    assert len(done.reasons) == 1
    assert done.reasons[0].startswith(why)
    for wanted, found in zip(found_in(model), found_in(tmp_path / "out.onnx"), strict=True):
        np.testing.assert_array_equal(found.boxes, wanted.boxes)


@pytest.mark.parametrize("rewrite", ["exact", "cut"])
def test_a_graph_without_anything_to_rewrite_leaves_no_file(tmp_path: Path, rewrite: Rewrite) -> None:
    (tmp_path / "there").mkdir()
    model = colour_detector(tmp_path / "model.onnx")
    done = prepare(model, rewrite=rewrite, out=tmp_path / "there" / "out.onnx")
    assert (done.graph, done.file) == ("exported", None)
    assert done.reasons[-1] == "exact: every Softmax in it works on the last axis already"
    assert list((tmp_path / "there").iterdir()) == []


def test_a_softmax_on_the_last_axis_is_cut_but_not_moved(tmp_path: Path) -> None:
    model = yolov8_file(tmp_path / "model.onnx", last_axis=True)
    assert prepare(model, rewrite="exact", out=tmp_path / "out.onnx").graph == "exported"
    assert prepare(model, rewrite="cut", out=tmp_path / "out.onnx").graph == "cut"


@pytest.mark.parametrize("rewrite", ["exact", "cut"])
def test_what_was_rewritten_is_not_rewritten_again(tmp_path: Path, rewrite: Rewrite) -> None:
    model = yolov8_file(tmp_path / "model.onnx")
    prepare(model, rewrite=rewrite, out=tmp_path / "once.onnx")
    again = prepare(tmp_path / "once.onnx", rewrite=rewrite, out=tmp_path / "twice.onnx")
    assert again.graph == "exported"
    assert f"it has been rewritten before ({rewrite})" in again.reasons[0]


def test_weights_beside_the_file_are_left_there(tmp_path: Path) -> None:
    model = yolov8_file(tmp_path / "model.onnx")
    onnx.save(onnx.load(model), model, save_as_external_data=True, location="weights", size_threshold=256)
    done = prepare(model, rewrite="exact", out=tmp_path / "out.onnx")
    assert done.reasons == ("exact: its weights lie in other files beside it",)


def test_an_old_opset_is_left_alone(tmp_path: Path) -> None:
    model = onnx.load(yolov8_file(tmp_path / "model.onnx"))
    model.opset_import[0].version = 12
    onnx.save(model, tmp_path / "old.onnx")
    done = prepare(tmp_path / "old.onnx", rewrite="exact", out=tmp_path / "out.onnx")
    assert done.reasons == ("exact: its opset is 12; 13 or newer is wanted",)


def test_models_of_sensor_windows_are_refused(tmp_path: Path) -> None:
    model = reconstruction_model(tmp_path / "motor.onnx", metadata=anomaly_metadata())
    with pytest.raises(RefusedError, match="a detector or pose model is wanted"):
        prepare(model, rewrite="exact", out=tmp_path / "out.onnx")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(RefusedError, match=r"model\.onnx is no ONNX file"):
        prepare(tmp_path / "model.onnx", rewrite="exact", out=tmp_path / "out.onnx")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    model = yolov8_file(tmp_path / "model.onnx")
    with pytest.raises(RefusedError, match="cannot be written: No such file or directory"):
        prepare(model, rewrite="exact", out=tmp_path / "none" / "out.onnx")
