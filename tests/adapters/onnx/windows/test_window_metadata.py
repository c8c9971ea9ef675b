"""What the file of a model of sensor windows may say, and what is told of what it may not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent.adapters.onnx.windows.features import FEATURES, features_of
from agent.adapters.onnx.windows.metadata import MetadataError, read_window_metadata
from tests.window_files import window_metadata

CLASSIFIER = {"kind": "classifier", "classes": ["a", "b", "c"]}


def test_everything_that_is_wrong_is_told_at_once() -> None:
    said = window_metadata(rate_hz=0, threshold=None, hop=7, kind="forcaster")
    with pytest.raises(MetadataError) as found:
        read_window_metadata(said)
    problems = found.value.problems
    assert [
        next(key for key in ("threshold", "kind", "hop", "rate_hz") if key in one) for one in problems
    ] == [
        "kind",
        "threshold",
        "hop",
        "rate_hz",
    ]
    assert str(found.value) == "; ".join(problems)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "transformer"}, "autoencoder, forecaster, classifier, score"),
        ({"kind": "forecaster"}, "kind forecaster must have horizon"),
        ({"kind": "forecaster", "horizon": 6}, "1 to 5 would be right"),
        ({"kind": "forecaster", "horizon": 2.5}, "metadata horizon is '2.5'"),
        ({"horizon": 2}, "metadata horizon belongs to kind forecaster, but there is no kind"),
        ({"kind": "score", "normal": "a"}, "metadata normal belongs to kind classifier, but kind is score"),
        ({"kind": "autoencoder", "higher_means": "normal"}, "higher_means belongs to kind score"),
        ({"kind": "score", "higher_means": "good"}, "one of anomalous, normal is wanted"),
        ({"kind": "classifier", "normal": "a"}, "kind classifier must have classes"),
        (CLASSIFIER, "either its normal class (`normal`) or the ones to be told (`anomalous`), of a, b, c"),
        ({**CLASSIFIER, "normal": "a", "anomalous": "b"}, "either its normal class"),
        ({**CLASSIFIER, "normal": "d"}, "one of several classes"),
        ({**CLASSIFIER, "anomalous": ["a", "b", "c"]}, "some of a, b, c are wanted, not all"),
        ({**CLASSIFIER, "anomalous": "d"}, "some of a, b, c"),
        ({**CLASSIFIER, "normal": "a", "activation": "relu"}, "one of none, softmax is wanted"),
        ({"kind": "classifier", "classes": ["a", "a"], "normal": "a"}, "list of different names"),
        ({"normalisation": "zscore"}, "one of mean_std, minmax, none is wanted"),
        ({"normalisation": "minmax"}, "must have min, max"),
        ({"normalisation": "minmax", "min": [0, 1], "max": [1, 1]}, "every value must be above min"),
        ({"normalisation": "none", "mean": [0, 0], "std": [1, 1]}, "mean and std belong to mean_std"),
        ({"normalisation": None}, "must have mean, std"),
        ({"layout": "NHWC"}, "one of NWC, NCW is wanted"),
        ({"features": ["rms", "entropy"]}, "features has entropy; known are mean, std, rms"),
        ({"features": ["rms"], "layout": "NWC"}, "exclude each other"),
        ({"hop": 7}, "1 to 6 would be right"),
    ],
)
def test_wrong_value_is_told_with_what_would_be_right(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(MetadataError) as found:
        read_window_metadata(window_metadata(**changes))
    assert told in str(found.value)
    assert len(found.value.problems) == 1


def test_words_may_stand_without_quotes() -> None:
    said = window_metadata() | {"kind": "classifier", "classes": "['a', 'b']", "normal": "a"}
    read = read_window_metadata(said)
    assert (read.kind, read.anomalous) == ("classifier", frozenset({"b"}))


def test_features_are_those_of_the_textbooks() -> None:
    x = np.array([1.0, 2.0, 2.0, 5.0], np.float32)
    found = dict(zip(FEATURES, features_of(x[:, None], tuple(FEATURES)), strict=True))
    # By hand: deviations from 2.5 are -1.5, -0.5, -0.5, 2.5; m2 = 2.25, m3 = 3, m4 = 11.0625.
    assert found == pytest.approx(
        {
            "mean": 2.5,
            "std": 1.5,
            "rms": 8.5**0.5,
            "min": 1.0,
            "max": 5.0,
            "peak_to_peak": 4.0,
            "crest": 5 / 8.5**0.5,
            "skewness": 3 / 2.25**1.5,
            "kurtosis": 11.0625 / 2.25**2 - 3,
        }
    )


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_flat_line_has_finite_features(level: float) -> None:
    assert np.isfinite(features_of(np.full((5, 2), level, np.float32), tuple(FEATURES))).all()
