"""Where tracked boxes will be: a Kalman filter of constant velocity, for all tracks at once.

Centre x, centre y, width and height move independently of one another, each with a position and a velocity,
so that the covariance of a track is four symmetric matrices of 2 x 2 and nothing has to be inverted. A
track's motion is float64 `[5, 4]`: position, velocity (per second), and the variance of the position, its
covariance with the velocity, and the velocity's variance. The unit of length is the caller's.

Time between frames is real: rates differ from camera to camera, and from minute to minute under overload.

Source: Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation", 6.2.2:
continuous white noise acceleration, of which the noise of this filter is made.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Standard deviations in sides of the box (mean of width and height), since what is near moves faster in the
# picture. A detector's box: as SORT and ByteTrack have it, 1/20. The others by benchmarks/tracking.py.
_BOX_NOISE: Final = 0.05
_FIRST_VELOCITY: Final = 1.5
_VELOCITY_DRIFT: Final = 0.7

_POSITION, _VELOCITY, _VAR, _COV, _VAR_VELOCITY = range(5)


def begin(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Motions `[N, 5, 4]` of boxes x1, y1, x2, y2 seen for the first time; they may go anywhere."""
    motions = np.zeros((len(boxes), 5, 4), np.float64)
    motions[:, _POSITION] = centres(boxes)
    side = _sides(motions)
    motions[:, _VAR] = (_BOX_NOISE * side) ** 2
    motions[:, _VAR_VELOCITY] = (_FIRST_VELOCITY * side) ** 2
    return motions


def predict(motions: NDArray[np.float64], elapsed_s: float) -> None:
    """Move all on by so much time, in place."""
    drift = (_VELOCITY_DRIFT * _sides(motions)) ** 2
    motions[:, _POSITION] += elapsed_s * motions[:, _VELOCITY]
    motions[:, _VAR] += (
        elapsed_s * (2.0 * motions[:, _COV] + elapsed_s * motions[:, _VAR_VELOCITY])
        + drift * elapsed_s**3 / 3.0
    )
    motions[:, _COV] += elapsed_s * motions[:, _VAR_VELOCITY] + drift * elapsed_s**2 / 2.0
    motions[:, _VAR_VELOCITY] += drift * elapsed_s
    # A box that shrinks by its velocity alone does not vanish.
    np.maximum(motions[:, _POSITION, 2:], 1e-6, out=motions[:, _POSITION, 2:])


def corrected(motions: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Motions after each was seen where its box says."""
    seen = centres(boxes)
    var, cov = motions[:, _VAR], motions[:, _COV]
    total = var + (_BOX_NOISE * _sides(motions)) ** 2
    gain, gain_velocity = var / total, cov / total
    surprise = seen - motions[:, _POSITION]
    return np.stack(
        (
            motions[:, _POSITION] + gain * surprise,
            motions[:, _VELOCITY] + gain_velocity * surprise,
            (1.0 - gain) * var,
            (1.0 - gain) * cov,
            motions[:, _VAR_VELOCITY] - gain_velocity * cov,
        ),
        axis=1,
    )


def hold_size(motions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Motions that stop growing or shrinking: what is hidden by degrees seems to, and does not."""
    held = motions.copy()
    held[:, _VELOCITY, 2:] = 0.0
    return held


def boxes_of(motions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where they are: x1, y1, x2, y2, `[N, 4]`."""
    centre, half = motions[:, _POSITION, :2], motions[:, _POSITION, 2:] / 2.0
    return np.concatenate((centre - half, centre + half), axis=1)


def centres(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre x, centre y, width, height of boxes x1, y1, x2, y2."""
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2.0, boxes[:, 2:] - boxes[:, :2]), axis=1)


def _sides(motions: NDArray[np.float64]) -> NDArray[np.float64]:
    sides: NDArray[np.float64] = motions[:, _POSITION, 2:].mean(axis=1, keepdims=True)
    return np.maximum(sides, 1e-6, out=sides)
