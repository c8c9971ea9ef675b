from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.domain.errors import RefusedError
from agent.workbench.recordings import Cutting, read_csv, simulate_faults, simulate_sound

EVERY = Cutting(window=2, hop=1, count=None)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "motor.csv"
    path.write_bytes(text.encode())
    return path


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufefftime, y, x\n0, 1.5, 2\n\n1, 2.5, -3e-1\n")
    assert (
        read_csv(path, ["x", "y"], EVERY).tolist() == np.array([[2, 1.5], [-0.3, 2.5]], np.float32).tolist()
    )


def test_no_more_is_read_than_is_wanted(tmp_path: Path) -> None:
    path = written(tmp_path, "x\n1\n2\n3\n4\nbad\n")
    assert len(read_csv(path, ["x"], Cutting(window=2, hop=2, count=2))) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("time,x\n0,1\n1,2\n", "lacks y: its first line names time, x, and x, y are wanted"),
        ("", "names nothing"),
        ("x,y\n1,2\n1,off\n", "line 3: y is 'off'; a number is wanted"),
        ("x,y\n1,2\n1\n", "line 3: y is ''"),
        ("x,y\n1,nan\n", "y is 'nan'"),
        ("x,y\n1,2\n", "has 1 samples; a window of this model takes 2"),
    ],
)
def test_file_that_is_no_recording_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read_csv(written(tmp_path, text), ["x", "y"], EVERY)
    assert told in refused.value.message


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"x\n\xff\xfe\n")
    with pytest.raises(RefusedError, match="no CSV file in UTF-8"):
        read_csv(path, ["x"], EVERY)
    with pytest.raises(RefusedError, match="cannot be read"):
        read_csv(tmp_path / "none.csv", ["x"], EVERY)


def test_windows_overlap_by_the_hop() -> None:
    values = np.arange(6, dtype=np.float32)[:, None]
    cut = [window[:, 0].tolist() for window in Cutting(window=3, hop=2, count=None).windows(values)]
    assert cut == [[0, 1, 2], [2, 3, 4]]


def test_faults_are_stronger_than_what_is_sound() -> None:
    cutting = Cutting(window=128, hop=64, count=None)
    sound = simulate_sound(("x", "y", "z"), 200.0, 128 * 20).std(axis=0)
    faults = list(simulate_faults(200.0, cutting, 20))
    assert len(faults) == 20
    assert all(window.std(axis=0)[0] > sound[0] for window in faults)


def test_other_channels_want_a_file() -> None:
    with pytest.raises(RefusedError, match="this model wants x, y; normal samples from a file"):
        simulate_sound(("x", "y"), 200.0, 10)
