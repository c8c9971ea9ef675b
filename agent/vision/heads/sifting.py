"""Which of thousands of boxes are worth decoding: those that may count, and the best of those just below."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.domain.thresholds import Thresholds

MOST_WEAK: Final = 64
"""Boxes below the threshold that are decoded for a frame. A model that is unsure of everything gives
thousands: decoding those would cost more than it tells."""


class Near(NamedTuple):
    """`indices`, in their order, of all above `known_from`; `left_out` so many more above the floor."""

    indices: NDArray[np.intp]
    left_out: int
    known_from: float


def floor_of(thresholds: Thresholds, least: float) -> float:
    """From where on boxes are looked at: `least` is from where on they may count.

    >>> floor_of(Thresholds(floor=0.1), 0.25), floor_of(Thresholds(floor=0.1), 0.05)
    (0.1, 0.05)
    """
    return least if thresholds.floor is None else min(thresholds.floor, least)


def sift(strength: NDArray[np.float32], *, least: float, floor: float) -> Near:
    """The boxes whose `strength` is above `least`, and up to `MOST_WEAK` of those above `floor`.

    `strength` `[n]` rises with confidence; the two limits are in its measure, and `known_from` is as well.
    """
    near = np.flatnonzero(strength > floor)
    if len(near) <= MOST_WEAK or floor >= least:
        return Near(near, 0, floor)
    values = strength[near]
    weak = values[values <= least]
    if len(weak) <= MOST_WEAK:
        return Near(near, 0, floor)
    # The strongest that is left out: where several are as strong, they are left out together.
    cut = np.partition(weak, -MOST_WEAK - 1)[-MOST_WEAK - 1]
    kept = near[values > cut]
    return Near(kept, len(near) - len(kept), float(cut))
