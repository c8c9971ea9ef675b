from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.adapters.onnx import load_model
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.domain.errors import Code, RefusedError, TransientError
from tests.onnx_files import anomaly_metadata, colour_detector, reconstruction_model, score_model

RNG = np.random.default_rng(4)
WINDOW = RNG.normal([1.0, -2.0], [2.0, 4.0], (8, 2)).astype(np.float32)


def normalised(window: NDArray[np.float32]) -> NDArray[np.float64]:
    return (window.astype(np.float64) - [1.0, -2.0]) / [2.0, 4.0]


def load(path: Path) -> OnnxAnomaly:
    model = load_model(name="motor", path=path)
    assert isinstance(model, OnnxAnomaly)
    return model


def test_the_file_says_what_it_wants(tmp_path: Path) -> None:
    model = load(reconstruction_model(tmp_path / "a.onnx", metadata=anomaly_metadata(version="0.3")))
    assert (model.window, model.hop, model.channels, model.rate_hz, model.threshold) == (
        8,
        4,
        ("x", "y"),
        200.0,
        0.5,
    )
    assert (model.facts.task, dict(model.facts.class_names)) == ("anomaly", {})


def test_the_file_may_say_its_hop(tmp_path: Path) -> None:
    assert load(reconstruction_model(tmp_path / "a.onnx", metadata=anomaly_metadata(hop=1))).hop == 1


@pytest.mark.parametrize(("element", "within"), [("float32", 1e-6), ("float16", 2e-3)])
def test_a_reconstruction_scores_by_its_error(tmp_path: Path, element: str, within: float) -> None:
    model = load(reconstruction_model(tmp_path / "a.onnx", metadata=anomaly_metadata(), element=element))
    score, timed = model.score(WINDOW)
    assert score == pytest.approx(float(np.mean((normalised(WINDOW) / 2) ** 2)), rel=within)
    assert 0 < timed.preprocessed_ns <= timed.inferred_ns


@pytest.mark.parametrize("keepdims", [True, False])
def test_a_score_of_the_models_own_is_taken_as_it_is(tmp_path: Path, keepdims: bool) -> None:
    model = load(score_model(tmp_path / "a.onnx", metadata=anomaly_metadata(), keepdims=keepdims))
    assert model.score(WINDOW)[0] == pytest.approx(float(normalised(WINDOW).max()), rel=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_missing_sample_is_an_error_and_not_a_score(tmp_path: Path, value: float) -> None:
    model = load(reconstruction_model(tmp_path / "a.onnx", metadata=anomaly_metadata()))
    window = WINDOW.copy()
    window[3, 1] = value
    with pytest.raises(TransientError, match="lacks samples of y") as caught:
        model.score(window)
    assert caught.value.code == Code.READING


@pytest.mark.parametrize("shape", [(7, 2), (8, 3), (16,)])
def test_a_window_of_another_shape_is_an_error(tmp_path: Path, shape: tuple[int, ...]) -> None:
    model = load(reconstruction_model(tmp_path / "a.onnx", metadata=anomaly_metadata()))
    with pytest.raises(TransientError, match=r"wants a window of \[8, 2\]"):
        model.score(np.zeros(shape, np.float32))


def test_a_score_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    model = load(reconstruction_model(tmp_path / "a.onnx", metadata=anomaly_metadata(), element="float16"))
    with pytest.raises(TransientError) as caught:
        model.score(np.full((8, 2), 1e30, np.float32))
    assert caught.value.code == Code.MODEL


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"window": None, "std": None}, "must have window, std"),
        ({"window": 0}, "window"),
        ({"window": 9}, "9 samples of 2 channels"),
        ({"channels": ["x"], "mean": [0], "std": [1]}, "8 samples of 1 channels"),
        ({"channels": ["x", "x"]}, "channels"),
        ({"channels": []}, "channels"),
        ({"mean": [1.0]}, "a list of 2 numbers"),
        ({"std": [1.0, 0.0]}, "above 0"),
        ({"rate_hz": -1}, "rate_hz"),
        ({"threshold": "high"}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"hop": 0}, "hop"),
    ],
)
def test_metadata_that_is_wrong_is_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    path = reconstruction_model(tmp_path / "a.onnx", metadata=anomaly_metadata(**changes))
    with pytest.raises(RefusedError) as caught:
        load_model(name="motor", path=path)
    assert caught.value.code == Code.MODEL
    assert told in caught.value.message


def test_a_picture_model_is_no_anomaly_model(tmp_path: Path) -> None:
    path = colour_detector(tmp_path / "colours.onnx", metadata=anomaly_metadata())
    with pytest.raises(RefusedError, match=r"one input \[N, window, channels\]"):
        load_model(name="motor", path=path)
