"""The two ways to share the cores among runs of a model, and how a rate is counted in either."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LanesName = Literal["one_lane", "all_lanes"]


@dataclass(frozen=True, slots=True)
class Lanes:
    """`lanes` callers of one session at once, each run with `threads` threads."""

    name: LanesName
    lanes: int
    threads: int


def both_lanes(cores: int) -> dict[LanesName, Lanes]:
    """One caller with all cores (t2 on two of them), and a one-thread caller on each core (t1x2)."""
    return {
        "one_lane": Lanes(name="one_lane", lanes=1, threads=cores),
        "all_lanes": Lanes(name="all_lanes", lanes=cores, threads=1),
    }


def usable_cores() -> int:
    """The cores that this process may run on, which is what the agent goes by."""
    return len(os.sched_getaffinity(0))


def warm_up_of(frames: int, *, lanes: int) -> int:
    """How many of the first frames are not counted: a tenth, and no fewer than two for each lane."""
    return max(2 * lanes, frames // 10)


def rate_hz(finished_ns: Sequence[int], *, warm_up: int) -> float:
    """Frames a second from the end of the last warm-up frame to the end of the last frame of all.

    >>> rate_hz([0, 900_000_000, 1_000_000_000, 1_100_000_000], warm_up=2)
    10.0

    Raises:
        ValueError: nothing is left after the warm-up.
    """
    counted = sorted(finished_ns)[warm_up - 1 :]
    if len(counted) < 2 or counted[-1] == counted[0]:
        raise ValueError(f"{len(finished_ns)} frames are too few after a warm-up of {warm_up}")
    return (len(counted) - 1) * 1e9 / (counted[-1] - counted[0])
