"""Each kind of model of sensor windows, by real files whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.adapters.onnx import load_model
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.domain.errors import RefusedError
from tests.window_files import (
    forest_like,
    half,
    mapped_classifier,
    persistence,
    sums_classifier,
    text_model,
    window_metadata,
)

RNG = np.random.default_rng(7)
WINDOW = RNG.normal(0, 0.4, (6, 2)).astype(np.float32)
CLASSES = ["sound", "worn", "loose"]


def load(path: Path) -> OnnxAnomaly:
    model = load_model(name="motor", path=path)
    assert isinstance(model, OnnxAnomaly)
    return model


def refusal(path: Path) -> str:
    with pytest.raises(RefusedError) as refused:
        load_model(name="motor", path=path)
    assert refused.value.code == "E_MODEL"
    return refused.value.message


@pytest.mark.parametrize(
    ("sides", "changes"),
    [("6,2", {}), ("2,6", {"layout": "NCW"}), ("12", {}), ("6,2", {"kind": "autoencoder"})],
)
def test_autoencoder_scores_by_what_it_does_not_give_back(
    tmp_path: Path, sides: str, changes: dict[str, Any]
) -> None:
    model = load(half(tmp_path / "a.onnx", sides=sides, metadata=window_metadata(**changes)))
    assert model.kind.name == "autoencoder"
    assert model.score(WINDOW)[0] == pytest.approx(float(np.mean((WINDOW / 2) ** 2)), rel=1e-6)


def test_autoencoder_in_double_precision_is_served(tmp_path: Path) -> None:
    model = load(half(tmp_path / "a.onnx", sides="6,2", metadata=window_metadata(), element="double"))
    assert model.score(WINDOW)[0] == pytest.approx(float(np.mean((WINDOW.astype(float) / 2) ** 2)), rel=1e-9)


def test_minmax_normalises_to_the_range(tmp_path: Path) -> None:
    said = window_metadata(normalisation="minmax", min=[-2, 0], max=[2, 10])
    model = load(half(tmp_path / "a.onnx", sides="6,2", metadata=said))
    normalised = (WINDOW - [-2, 0]) / [4, 10]
    assert model.score(WINDOW)[0] == pytest.approx(float(np.mean((normalised / 2) ** 2)), rel=1e-6)
    assert model.typical_window()[0].tolist() == [0.0, 5.0]
    assert model.spread.tolist() == [4.0, 10.0]


@pytest.mark.parametrize("channels_first", [False, True])
def test_forecaster_scores_by_how_far_it_misses_what_came(tmp_path: Path, channels_first: bool) -> None:
    said = window_metadata(kind="forecaster", horizon=2, layout="NCW" if channels_first else None)
    model = load(persistence(tmp_path / "f.onnx", metadata=said, channels_first=channels_first))
    missed = WINDOW[4:] - WINDOW[3]
    assert model.kind.name == "forecaster"
    assert model.score(WINDOW)[0] == pytest.approx(float(np.mean(missed**2)), rel=1e-6)

    changed = WINDOW.copy()
    changed[5, 1] += 3  # in what is predicted, not in what the model sees
    assert model.score(changed)[0] > model.score(WINDOW)[0] + 1


def test_forecaster_that_predicts_another_number_of_samples_is_refused(tmp_path: Path) -> None:
    said = window_metadata(kind="forecaster", horizon=1, window=5)
    told = refusal(persistence(tmp_path / "f.onnx", metadata=said))
    assert "gives the next 1 samples of 2 channels, [1, 1, 2]; it has next [1, 2, 2]" in told


def softmax(row_sum: float) -> list[float]:
    powers = np.exp([row_sum, -row_sum, 0.0])
    return list(powers / powers.sum())


@pytest.mark.parametrize(
    ("ending", "activation"), [("Softmax", None), ("Softmax", "none"), ("Identity", "softmax")]
)
@pytest.mark.parametrize(
    ("told_of", "columns"),
    [
        ({"normal": "sound"}, (1, 2)),
        ({"anomalous": "worn"}, (1,)),
        ({"anomalous": ["sound", "loose"]}, (0, 2)),
    ],
)
def test_classifier_scores_by_the_probability_of_what_is_not_normal(
    tmp_path: Path, ending: str, activation: str | None, told_of: dict[str, Any], columns: tuple[int, ...]
) -> None:
    said = window_metadata(kind="classifier", classes=CLASSES, activation=activation, **told_of)
    model = load(sums_classifier(tmp_path / "c.onnx", metadata=said, ending=ending))
    wanted = sum(softmax(float(WINDOW.sum()))[column] for column in columns)
    assert model.score(WINDOW)[0] == pytest.approx(wanted, rel=1e-5)


def test_classifier_whose_logits_pass_for_probabilities_is_refused(tmp_path: Path) -> None:
    said = window_metadata(kind="classifier", classes=CLASSES, normal="sound")
    told = refusal(sums_classifier(tmp_path / "c.onnx", metadata=said, ending="Identity"))
    assert "no probabilities" in told
    assert "activation: softmax would be right" in told


def test_classifier_of_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    said = window_metadata(kind="classifier", classes=["sound", "worn"], normal="sound")
    told = refusal(sums_classifier(tmp_path / "c.onnx", metadata=said))
    assert "of 2 classes (sound, worn) gives [1, 2]" in told
    assert "probabilities [1, 3]" in told


def test_classifier_exported_with_maps_is_told_how_to_export(tmp_path: Path) -> None:
    said = window_metadata(kind="classifier", classes=CLASSES, normal="sound", window=3, channels=["x"])
    assert "zipmap=False" in refusal(mapped_classifier(tmp_path / "m.onnx", metadata=said))


@pytest.mark.parametrize("element", ["float", "double"])
def test_score_of_a_forest_is_turned_so_that_higher_is_stranger(tmp_path: Path, element: str) -> None:
    said = window_metadata(kind="score", higher_means="normal", threshold=0)
    model = load(forest_like(tmp_path / "s.onnx", metadata=said, columns=12, element=element))
    assert model.kind.output_name == "scores"  # not the label, which is a whole number
    assert model.score(WINDOW)[0] == pytest.approx(float(np.abs(WINDOW).max()) - 1, rel=1e-5)


def test_features_go_channel_by_channel(tmp_path: Path) -> None:
    said = window_metadata(kind="autoencoder", features=["mean", "max", "rms"])
    model = load(half(tmp_path / "a.onnx", sides="6", metadata=said))
    row = [value for x in WINDOW.T for value in (x.mean(), x.max(), np.sqrt((x**2).mean()))]
    assert model.score(WINDOW)[0] == pytest.approx(float(np.mean((np.array(row) / 2) ** 2)), rel=1e-5)


def test_output_that_the_metadata_names_is_the_one_read(tmp_path: Path) -> None:
    said = window_metadata(kind="score", output="label")
    assert "gives" not in (told := refusal(forest_like(tmp_path / "s.onnx", metadata=said, columns=12)))
    assert "it has label [1, 1]" in told
    said = window_metadata(kind="score", output="scoer")
    told = refusal(forest_like(tmp_path / "t.onnx", metadata=said, columns=12))
    assert "metadata output is 'scoer'; one of label, scores is wanted" in told


@pytest.mark.parametrize(
    ("sides", "changes", "told"),
    [
        ("2,6", {}, "its input is [N, 2, 6]; layout: NCW would be right"),
        ("6,2", {"layout": "NCW"}, "its input is [N, 6, 2]; layout: NWC would be right"),
        ("10", {}, "metadata must name them in `features`"),
        ("12", {"layout": "NWC"}, "for which layout is left out"),
        ("6,2", {"features": ["rms"]}, "its input has three sides"),
        ("3", {"features": ["rms"]}, "1 features of 2 channels, [N, channels * features] = [N, 2]"),
        ("6,2", {"kind": "score"}, "one number for a window, [N] or [N, 1]; it has again [1, 6, 2]"),
        ("4,2", {"kind": "forecaster", "horizon": 1}, "6 - 1 = 5 samples of 2 channels"),
    ],
)
def test_input_or_output_of_another_form_is_refused(
    tmp_path: Path, sides: str, changes: dict[str, Any], told: str
) -> None:
    assert told in refusal(half(tmp_path / "a.onnx", sides=sides, metadata=window_metadata(**changes)))


def test_integers_are_no_window(tmp_path: Path) -> None:
    graph = "same (int64[N,6,2] window) => (int64[N,6,2] again) { again = Identity(window) }"
    path = text_model(tmp_path / "a.onnx", graph, metadata=window_metadata())
    assert "float32 or float16 or float64, not int64" in refusal(path)


def test_file_without_a_kind_says_what_there_is(tmp_path: Path) -> None:
    told = refusal(sums_classifier(tmp_path / "c.onnx", metadata=window_metadata()))
    assert "without a metadata kind (autoencoder, forecaster, classifier, score)" in told
    assert "probabilities [1, 3]" in told
