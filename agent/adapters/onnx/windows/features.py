"""Simple numbers of a window, channel by channel, for models that want a row and not a signal."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]
"""One channel of a window, `[samples]`."""


def _rms(x: Signal) -> float:
    return float(np.sqrt(np.mean(x * x)))


def _ratio(above: float, below: float) -> float:
    """0 where the signal does not vary: no shape is to be seen in a flat line."""
    return above / below if below > 0 else 0.0


def _moment(x: Signal, order: int) -> float:
    return float(np.mean((x - x.mean()) ** order))


def _crest(x: Signal) -> float:
    """Source: Randall, Vibration-based Condition Monitoring (2011), 3.1: greatest magnitude / RMS."""
    return _ratio(float(np.abs(x).max()), _rms(x))


def _skewness(x: Signal) -> float:
    """Source: g1 = m3 / m2^1.5 of central moments, Joanes and Gill (1998), eq. 1."""
    return _ratio(_moment(x, 3), _moment(x, 2) ** 1.5)


def _kurtosis(x: Signal) -> float:
    """Source: g2 = m4 / m2^2 - 3, Joanes and Gill (1998), eq. 2: 0 for a normal distribution."""
    spread = _moment(x, 2)
    return _moment(x, 4) / spread**2 - 3 if spread > 0 else 0.0


FEATURES: Final[dict[str, Callable[[Signal], float]]] = {
    "mean": lambda x: float(x.mean()),
    "std": lambda x: float(x.std()),
    "rms": _rms,
    "min": lambda x: float(x.min()),
    "max": lambda x: float(x.max()),
    "peak_to_peak": lambda x: float(np.ptp(x)),
    "crest": _crest,
    "skewness": _skewness,
    "kurtosis": _kurtosis,
}
"""By the names that metadata uses. `std` divides by the number of samples, as numpy does."""


def features_of(values: NDArray[np.float32], wanted: Sequence[str]) -> NDArray[np.float64]:
    """`[channels * features]` of a window `[samples, channels]`: all features of a channel, then the next's.

    >>> features_of(np.array([[3, 0], [-3, 2]], np.float32), ["mean", "rms"]).round(3).tolist()
    [0.0, 3.0, 1.0, 1.414]
    """
    columns = values.astype(np.float64).T
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array([FEATURES[name](column) for column in columns for name in wanted])
