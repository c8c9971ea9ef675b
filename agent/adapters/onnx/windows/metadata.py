"""What the file of a model of sensor windows says: read strictly, all that is wrong told at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from agent.adapters.onnx.literals import choice, count, names, number, word
from agent.adapters.onnx.windows.features import FEATURES
from agent.adapters.onnx.windows.normalisation import Normalisation, read_normalisation

KINDS: Final = ("autoencoder", "forecaster", "classifier", "score")
LAYOUTS: Final = ("NWC", "NCW")
ACTIVATIONS: Final = ("none", "softmax")
HIGHER: Final = ("anomalous", "normal")

_OWNERS: Final = {
    "horizon": "forecaster",
    "classes": "classifier",
    "normal": "classifier",
    "anomalous": "classifier",
    "activation": "classifier",
    "higher_means": "score",
}
"""Keys that only one kind has: with another kind they are a mistake, not a remark."""

_Value = TypeVar("_Value")


class MetadataError(ValueError):
    """The metadata cannot be used; `problems` has a sentence for each thing that is wrong."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class WindowMetadata:
    """What the file says. `kind` and `layout` are None where the model's shapes are to tell.

    `horizon`: samples at the window's end that a forecaster predicts. `anomalous`: a classifier's classes
    whose probabilities add up to the score. `output`: which one to read; None: what fits.
    """

    kind: str | None
    window: int
    hop: int
    channels: tuple[str, ...]
    rate_hz: float
    threshold: float
    normalisation: Normalisation
    layout: str | None = None
    features: tuple[str, ...] = ()
    horizon: int | None = None
    classes: tuple[str, ...] = ()
    anomalous: frozenset[str] = frozenset()
    activation: str = "none"
    higher_means: str = "anomalous"
    output: str | None = None


def read_window_metadata(said: Mapping[str, str]) -> WindowMetadata:
    """Raises: MetadataError (values are wrong or missing: all of them are told)."""
    reading = _Reading(said)
    kind = reading.take(lambda: choice(said, "kind", KINDS), None)
    reading.need(kind)
    window = reading.take(lambda: count(said, "window", wanted="a number of samples above 0"), 1)
    channels: tuple[str, ...] = reading.take(lambda: names(said, "channels"), ())
    metadata = WindowMetadata(
        kind=kind,
        window=window,
        hop=reading.take(lambda: _hop(said, window), 1),
        channels=channels,
        rate_hz=reading.take(lambda: _rate(said), 1.0),
        threshold=reading.take(lambda: number(said, "threshold"), 0.0),
        normalisation=reading.take(
            lambda: read_normalisation(said, len(channels)), Normalisation.none(len(channels))
        )
        if channels
        else Normalisation.none(0),
        layout=reading.take(lambda: choice(said, "layout", LAYOUTS), None),
        features=reading.take(lambda: _features(said), ()),
        horizon=reading.take(lambda: _horizon(said, kind, window), None),
        classes=reading.take(lambda: names(said, "classes"), ()) if kind == "classifier" else (),
        anomalous=reading.take(lambda: _anomalous(said), frozenset())
        if kind == "classifier"
        else frozenset(),
        activation=reading.take(lambda: choice(said, "activation", ACTIVATIONS), None) or "none",
        higher_means=reading.take(lambda: choice(said, "higher_means", HIGHER), None) or "anomalous",
        output=word(said, "output"),
    )
    reading.end()
    return metadata


class _Reading:
    """Goes on after a mistake, so that a person sees all of them."""

    def __init__(self, said: Mapping[str, str]) -> None:
        self._said = said
        self._problems: list[str] = []

    def need(self, kind: str | None) -> None:
        """Note what is missing, and what belongs to another kind."""
        needed = ["window", "channels", "rate_hz", "threshold"]
        normalisation = word(self._said, "normalisation") or "mean_std"
        needed += {"mean_std": ["mean", "std"], "minmax": ["min", "max"]}.get(normalisation, [])
        needed += {"forecaster": ["horizon"], "classifier": ["classes"]}.get(kind or "", [])
        if missing := [key for key in needed if key not in self._said]:
            article = "an anomaly model" if kind is None else f"an anomaly model of kind {kind}"
            self._problems.append(f"{article} must have {', '.join(missing)} in its metadata")
        for key, owner in _OWNERS.items():
            if key in self._said and kind != owner:
                is_now = f"kind is {kind}" if kind else "there is no kind"
                self._problems.append(f"metadata {key} belongs to kind {owner}, but {is_now}")

    def take(self, read: Callable[[], _Value], instead: _Value) -> _Value:
        try:
            return read()
        except KeyError:  # missing, which was noted
            return instead
        except ValueError as error:
            self._problems.append(str(error))
            return instead

    def end(self) -> None:
        if self._problems:
            raise MetadataError(tuple(dict.fromkeys(self._problems)))


def _hop(said: Mapping[str, str], window: int) -> int:
    if "hop" not in said:
        return max(window // 2, 1)
    hop = count(said, "hop", wanted="a number of samples above 0")
    if hop > window:
        raise ValueError(
            f"metadata hop is {hop}, more than the window's {window} samples: "
            f"what lies between two windows would never be looked at; 1 to {window} would be right"
        )
    return hop


def _rate(said: Mapping[str, str]) -> float:
    rate_hz = number(said, "rate_hz")
    if rate_hz <= 0:
        raise ValueError(f"metadata rate_hz is {said['rate_hz']!r}; samples a second, above 0, are wanted")
    return rate_hz


def _features(said: Mapping[str, str]) -> tuple[str, ...]:
    if "features" not in said:
        return ()
    found = names(said, "features")
    if unknown := [name for name in found if name not in FEATURES]:
        raise ValueError(f"metadata features has {', '.join(unknown)}; known are {', '.join(FEATURES)}")
    if "layout" in said:
        raise ValueError("metadata layout and features exclude each other: features make one flat row")
    return found


def _horizon(said: Mapping[str, str], kind: str | None, window: int) -> int | None:
    if kind != "forecaster":
        return None
    horizon = count(said, "horizon", wanted="a number of samples above 0")
    if "window" in said and horizon >= window:
        raise ValueError(
            f"metadata horizon is {horizon} of a window of {window} samples; the window holds what the model "
            f"sees and what it predicts, so 1 to {max(window - 1, 1)} would be right"
        )
    return horizon


def _anomalous(said: Mapping[str, str]) -> frozenset[str]:
    """The classes whose probability is the score: those named, or all but the normal one."""
    classes = names(said, "classes")
    if ("normal" in said) == ("anomalous" in said):
        raise ValueError(
            "metadata of a classifier names either its normal class (`normal`) or the ones to be told "
            f"(`anomalous`), of {', '.join(classes)}"
        )
    if "normal" in said:
        normal = word(said, "normal")
        if normal not in classes or len(classes) < 2:
            raise ValueError(f"metadata normal is {said['normal']!r}; one of several classes is wanted")
        return frozenset(classes) - {str(normal)}
    text = said["anomalous"].lstrip()
    found = names(said, "anomalous") if text.startswith(("[", "(")) else (str(word(said, "anomalous")),)
    if not set(found) < set(classes):
        raise ValueError(
            f"metadata anomalous is {said['anomalous']!r}; some of {', '.join(classes)} are wanted, not all"
        )
    return frozenset(found)
