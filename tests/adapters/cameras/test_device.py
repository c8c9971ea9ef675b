"""V4L2 devices: what was asked, what was granted, and what goes wrong. Without a device, over a fake one."""

import os
from pathlib import Path

import cv2
import pytest
import structlog.testing

from agent.adapters.cameras.device import DeviceCamera
from agent.domain.errors import Code, NanofleetError, RefusedError, TransientError
from tests.fakes.v4l2 import FakeDevice
from tests.videos import number_in, numbered

MJPG = float(cv2.VideoWriter.fourcc(*"MJPG"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "video0").symlink_to("/dev/null")  # a character device that anybody may open
    return tmp_path


def failure_of(camera: DeviceCamera) -> NanofleetError:
    with pytest.raises(NanofleetError) as caught:
        camera.open()
    camera.close()
    return caught.value


def test_pixel_format_is_asked_for_before_size_and_rate(folder: Path) -> None:
    device = FakeDevice([numbered(3)])
    camera = DeviceCamera(
        device="video0",
        width_px=1280,
        height_px=720,
        rate_hz=30,
        fourcc="MJPG",
        folder=folder,
        open_capture=lambda _path: device,
    )
    with structlog.testing.capture_logs() as logged:
        camera.open()
    frame = camera.read()
    camera.close()

    assert frame is not None
    assert number_in(frame) == 3
    wanted = (cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
    assert device.asked == list(wanted)
    assert [line["event"] for line in logged] == ["camera.opened"]
    assert {key: logged[0][key] for key in ("format", "width_px", "height_px", "rate_hz")} == {
        "format": "MJPG",
        "width_px": 1280.0,
        "height_px": 720.0,
        "rate_hz": 30.0,
    }
    assert device.released == 1


def test_what_is_not_asked_for_stays_as_it_is(folder: Path) -> None:
    device = FakeDevice([numbered(0)])
    camera = DeviceCamera(device="video0", folder=folder, open_capture=lambda _path: device)
    camera.open()
    camera.close()
    assert device.asked == []


def test_what_is_not_granted_is_told_and_no_failure(folder: Path) -> None:
    device = FakeDevice([numbered(0)], grants={cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FOURCC: MJPG})
    camera = DeviceCamera(
        device="video0",
        width_px=800,
        height_px=480,
        fourcc="H264",
        folder=folder,
        open_capture=lambda _path: device,
    )
    with structlog.testing.capture_logs() as logged:
        camera.open()
    assert camera.read() is not None
    camera.close()

    (warning,) = [line for line in logged if line["event"] == "camera.settings_differ"]
    assert warning["asked"] == {"format": "H264", "width_px": 800.0}
    assert warning["granted"] == {"format": "MJPG", "width_px": 640.0}


def test_device_that_stops_is_opened_again_and_an_unplugged_one_is_named_so(folder: Path) -> None:
    camera = DeviceCamera(
        device="video0", folder=folder, open_capture=lambda _path: FakeDevice([numbered(0)])
    )
    camera.open()
    assert camera.read() is not None
    with pytest.raises(TransientError, match=r"gives no frames any more$") as caught:
        camera.read()
    assert caught.value.code is Code.ENDED
    (folder / "video0").unlink()
    with pytest.raises(TransientError, match="unplugged"):
        camera.read()
    camera.close()


def test_absent_device_may_be_plugged_in_later(tmp_path: Path) -> None:
    error = failure_of(DeviceCamera(device="video7", folder=tmp_path))
    assert isinstance(error, TransientError)
    assert error.code is Code.OPEN
    assert "video7 is not there" in error.message


def test_file_in_the_place_of_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"")
    assert "is no device" in failure_of(DeviceCamera(device="video0", folder=tmp_path)).message


def test_device_that_is_no_camera_or_in_use_is_tried_again(folder: Path) -> None:
    # By OpenCV's own V4L2 code, which finds that /dev/null is no camera.
    error = failure_of(DeviceCamera(device="video0", folder=folder))
    assert isinstance(error, TransientError)
    assert error.code is Code.OPEN
    assert "did not open" in error.message


def test_device_without_permission_is_refused_with_what_helps(folder: Path) -> None:
    folder.chmod(0)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65_534)
        error = failure_of(DeviceCamera(device="video0", folder=folder))
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)
    assert isinstance(error, RefusedError)
    assert "in its group" in error.message
