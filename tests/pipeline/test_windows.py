"""From readings to windows."""

import math

import numpy as np
import pytest

from agent.domain.ids import SourceName
from agent.domain.reading import Quality, Reading
from agent.domain.stamp import Stamp
from agent.pipeline.windows import WindowAssembler

MOTOR = SourceName("motor")


def sample(index: int, values: dict[str, float], quality: Quality = "good") -> list[Reading]:
    at = Stamp(wall_ns=index * 10, monotonic_ns=index * 10)
    return [Reading(name, value, "g", at, quality) for name, value in values.items()]


def test_windows_overlap_by_the_hop_and_keep_the_order_of_channels() -> None:
    assembler = WindowAssembler(source=MOTOR, channels=("x", "y"), window=4, hop=2)
    windows = [
        window
        for index in range(8)
        for window in assembler.push(sample(index, {"y": index + 0.5, "temperature": 20.0, "x": index}))
    ]

    assert [window.values[:, 0].tolist() for window in windows] == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert windows[0].values[:, 1].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert windows[0].values.dtype == np.float32
    assert (windows[1].first.monotonic_ns, windows[1].last.monotonic_ns) == (20, 50)


@pytest.mark.parametrize(
    "bad",
    [
        {"x": 1.0},
        {"x": 1.0, "y": math.nan},
        {"y": math.inf, "x": 1.0},
    ],
)
def test_incomplete_sample_begins_the_window_anew(bad: dict[str, float]) -> None:
    assembler = WindowAssembler(source=MOTOR, channels=("x", "y"), window=3, hop=3)
    good = {"x": 1.0, "y": 2.0}
    windows = []
    for index, values in enumerate([good, good, bad, good, good, good, good]):
        windows += assembler.push(sample(index, values))

    assert [(window.first.monotonic_ns, window.last.monotonic_ns) for window in windows] == [(30, 50)]
    assert assembler.broken == 1


def test_reading_of_bad_quality_breaks_the_run() -> None:
    assembler = WindowAssembler(source=MOTOR, channels=("x",), window=2, hop=1)
    assert assembler.push(sample(0, {"x": 1.0})) == []
    assert assembler.push(sample(1, {"x": 1.0}, "bad")) == []
    assert assembler.push(sample(2, {"x": 1.0})) == []
    assert len(assembler.push(sample(3, {"x": 1.0}))) == 1


@pytest.mark.parametrize("hop", [0, 5, -1])
def test_hop_beyond_the_window_is_refused(hop: int) -> None:
    with pytest.raises(ValueError, match="between 1 and the window's 4"):
        WindowAssembler(source=MOTOR, channels=("x",), window=4, hop=hop)
