"""What `ports.FrameSource` promises, kept by every kind of camera and by the fake."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from agent.domain.errors import NanofleetError
from agent.ports import FrameSource
from tests.adapters.cameras.rigs import COUNT, KINDS, Rig
from tests.polling import until_blocking
from tests.videos import number_in

ENDS = ["file", "images", "synthetic", "scripted"]
MAY_BE_ABSENT = [kind for kind in KINDS if kind != "synthetic"]
WAITS_FOR_ITS_TIME = ["file", "images", "pipe", "synthetic"]


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield KINDS[request.param](tmp_path, stack)


@pytest.mark.parametrize("rig", KINDS, indirect=True)
def test_frames_are_bgr_pictures_that_nobody_writes_to_again(rig: Rig) -> None:
    rig.appear()
    camera = rig.camera()
    camera.open()
    first = camera.read()
    assert first is not None
    before = first.copy()
    second = camera.read()
    camera.close()

    assert second is not None
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    assert first.flags.c_contiguous
    assert not np.shares_memory(first, second)
    assert np.array_equal(first, before)


@pytest.mark.parametrize("rig", [kind for kind in KINDS if kind != "synthetic"], indirect=True)
def test_frames_come_in_order_and_none_is_skipped(rig: Rig) -> None:
    rig.appear()
    camera = rig.camera()
    camera.open()
    frames = [camera.read() for _ in range(COUNT)]
    camera.close()

    assert [number_in(frame) for frame in frames if frame is not None] == list(range(COUNT))


@pytest.mark.parametrize("rig", ENDS, indirect=True)
def test_end_is_none_and_stays_none(rig: Rig) -> None:
    rig.appear()
    camera = rig.camera()
    camera.open()
    frames = [camera.read() for _ in range(COUNT + 2)]
    camera.close()

    assert [frame is not None for frame in frames] == [True] * COUNT + [False] * 2


@pytest.mark.parametrize("rig", KINDS, indirect=True)
def test_camera_opened_again_begins_anew(rig: Rig) -> None:
    rig.appear()
    camera = rig.camera()
    firsts = []
    for _ in range(2):
        camera.open()
        firsts.append(camera.read())
        camera.close()

    assert firsts[0] is not None
    assert firsts[1] is not None
    assert np.array_equal(firsts[0], firsts[1])


@pytest.mark.parametrize("rig", MAY_BE_ABSENT, indirect=True)
def test_absent_camera_says_so_and_works_once_it_is_there(rig: Rig) -> None:
    absent = rig.camera()
    with pytest.raises(NanofleetError) as caught:
        first_frame(absent)
    absent.close()
    assert len(caught.value.message) > 10
    assert "\n" not in caught.value.message

    rig.appear()
    present = rig.camera()
    assert number_in(first_frame(present)) == 0
    present.close()


@pytest.mark.parametrize("rig", KINDS, indirect=True)
def test_close_may_come_before_open_and_twice(rig: Rig) -> None:
    camera = rig.camera()
    camera.close()
    camera.close()
    assert camera.patience_s > 0


@pytest.mark.parametrize("rig", WAITS_FOR_ITS_TIME, indirect=True)
def test_interrupt_ends_a_read_that_waits(rig: Rig) -> None:
    camera = rig.waiting()
    camera.open()
    assert camera.read() is not None
    reading = threading.Event()
    came: list[object] = []

    def read() -> None:
        reading.set()
        came.append(camera.read())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert reading.wait(10)
    camera.interrupt()
    until_blocking(lambda: bool(came))
    thread.join(10)
    camera.close()

    assert came == [None]


def first_frame(camera: FrameSource) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    camera.open()
    frame = camera.read()
    assert frame is not None
    return frame
