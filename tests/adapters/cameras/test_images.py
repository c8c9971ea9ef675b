"""Folders of pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import structlog.testing
from numpy.typing import NDArray

from agent.adapters.cameras.images import ImageFolderCamera, natural_key
from agent.domain.errors import Code, RefusedError, TransientError
from tests.fakes.schedule import SteppedTime
from tests.videos import number_in, numbered, write_pictures


def read(camera: ImageFolderCamera, most: int = 100) -> list[NDArray[np.uint8]]:
    frames: list[NDArray[np.uint8]] = []
    camera.open()
    while len(frames) < most and (frame := camera.read()) is not None:
        frames.append(frame)
    camera.close()
    return frames


def test_pictures_come_in_the_order_in_which_people_count(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", [10, 9, 100, 1, 2])
    frames = read(ImageFolderCamera(path=folder, every_s=0))
    assert [number_in(frame) for frame in frames] == [1, 2, 9, 10, 100]


def test_names_sort_by_their_numbers_without_regard_to_case() -> None:
    names = ["Door-2b.png", "door-2a.png", "door-10.png", "1.png", "²3.png", "door.png"]
    assert sorted(names, key=natural_key) == [
        "1.png",
        "door-2a.png",
        "Door-2b.png",
        "door-10.png",
        "door.png",
        "²3.png",
    ]


def test_pictures_are_paced(tmp_path: Path) -> None:
    time = SteppedTime()
    folder = write_pictures(tmp_path / "pictures", range(4))
    assert len(read(ImageFolderCamera(path=folder, every_s=2.5, pacer=time.pacer()))) == 4
    assert time.waits == [2.5] * 3


def test_looped_folder_shows_what_has_been_added(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", [1, 2])
    camera = ImageFolderCamera(path=folder, every_s=0, loop=True)
    camera.open()
    shown = []
    for turn in range(6):
        frame = camera.read()
        assert frame is not None
        shown.append(number_in(frame))
        if turn == 0:
            assert cv2.imwrite(str(folder / "3.png"), numbered(3))
    camera.close()
    assert shown == [1, 2, 1, 2, 3, 1]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("grey.png", np.full((20, 30), 200, np.uint8)),
        ("alpha.png", np.full((20, 30, 4), (200, 200, 200, 128), np.uint8)),
        ("deep.png", np.full((20, 30, 3), 200 * 257, np.uint16)),
        ("deep-grey.tiff", np.full((20, 30), 200 * 257, np.uint16)),
        ("lossless.webp", np.full((20, 30, 3), 200, np.uint8)),
    ],
)
def test_any_picture_becomes_bgr_with_8_bits(tmp_path: Path, name: str, stored: NDArray[np.uint8]) -> None:
    assert cv2.imwrite(str(tmp_path / name), stored)
    (frame,) = read(ImageFolderCamera(path=tmp_path, every_s=0))
    assert frame.shape == (20, 30, 3)
    assert frame.dtype == np.uint8
    assert np.abs(frame.astype(int) - 200).max() <= 1


def test_picture_is_turned_upright_as_its_exif_says(tmp_path: Path) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :30] = 255  # the left half is bright
    done, encoded = cv2.imencode(".jpg", picture)
    assert done
    jpeg = encoded.tobytes()
    # An EXIF segment with one entry: orientation 6, turned by a quarter clockwise to be upright.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "held.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])

    (frame,) = read(ImageFolderCamera(path=tmp_path, every_s=0))
    assert frame.shape == (60, 40, 3)
    assert frame[:20].mean() > 250
    assert frame[40:].mean() < 5


def test_broken_picture_is_left_out_and_told_once(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", [1, 2, 3])
    (folder / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing of the kind")
    (folder / "2b.jpg").write_bytes(b"")
    with structlog.testing.capture_logs() as logged:
        frames = read(ImageFolderCamera(path=folder, every_s=0, loop=True), most=6)

    assert [number_in(frame) for frame in frames] == [1, 3] * 3
    skipped = [line for line in logged if line["event"] == "camera.picture_skipped"]
    assert [(Path(line["path"]).name, line["skipped"]) for line in skipped] == [("2.png", 1), ("2b.jpg", 2)]


def test_other_files_folders_and_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", [1])
    (folder / "README.txt").write_text("what is in here")
    (folder / ".2.png").write_bytes(b"half written")
    (folder / "3.png").mkdir()
    with structlog.testing.capture_logs() as logged:
        assert len(read(ImageFolderCamera(path=folder, every_s=0))) == 1
    assert logged == []


@pytest.mark.parametrize("loop", [False, True])
def test_folder_of_broken_pictures_is_refused(tmp_path: Path, loop: bool) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(RefusedError, match="none of the 3 pictures") as caught:
        read(ImageFolderCamera(path=tmp_path, every_s=0, loop=loop))
    assert caught.value.code is Code.FILE


def test_absent_or_empty_folder_may_still_be_filled_but_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="is not there"):
        read(ImageFolderCamera(path=tmp_path / "nothing", every_s=0))
    with pytest.raises(TransientError, match="there is no picture in"):
        read(ImageFolderCamera(path=tmp_path, every_s=0))
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="is no folder"):
        read(ImageFolderCamera(path=tmp_path / "file", every_s=0))
