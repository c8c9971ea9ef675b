"""Which kind decodes a model: what its metadata says, or else what its outputs look like."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.adapters.onnx.windows import Answer, WindowKind, listed
from agent.adapters.onnx.windows.autoencoder import Autoencoder
from agent.adapters.onnx.windows.classifier import Classifier
from agent.adapters.onnx.windows.forecaster import Forecaster
from agent.adapters.onnx.windows.metadata import WindowMetadata
from agent.adapters.onnx.windows.own_score import OwnScore


def choose_kind(
    metadata: WindowMetadata, feed: NDArray[Any], names: Sequence[str], outputs: Sequence[Any]
) -> WindowKind:
    """The kind for a model that gave `outputs`, called `names`, for `feed`.

    Raises:
        ValueError: no output fits the kind that the metadata names, or any kind.
    """
    answers = [
        # Maps, as a scikit-learn export with ZipMap gives them, are no arrays.
        Answer(name, output)
        for name, output in zip(names, outputs, strict=True)
        if isinstance(output, np.ndarray)
    ]
    if metadata.output is not None:
        answers = [one for one in answers if one.name == metadata.output]
        if not answers:
            raise ValueError(f"metadata output is {metadata.output!r}; one of {', '.join(names)} is wanted")
    match metadata.kind:
        case "forecaster":
            return Forecaster.fit(metadata, feed, answers)
        case "classifier":
            return Classifier.fit(metadata, feed, answers)
        case "autoencoder":
            return Autoencoder.fit(metadata, feed, answers)
        case "score":
            return OwnScore.fit(metadata, feed, answers)
    return _by_shape(metadata, feed, answers)


def _by_shape(metadata: WindowMetadata, feed: NDArray[Any], answers: Sequence[Answer]) -> WindowKind:
    for kind in (Autoencoder, OwnScore):
        try:
            return kind.fit(metadata, feed, answers)
        except ValueError:
            continue
    raise ValueError(
        f"for one window of {list(feed.shape)} it gives {listed(answers)}; without a metadata kind "
        "(autoencoder, forecaster, classifier, score) a reconstruction of the same shape, [N] or [N, 1] is "
        "wanted"
    )
