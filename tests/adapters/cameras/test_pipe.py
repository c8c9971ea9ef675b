"""Commands that write frames: every byte in its place, every end explained, nothing left behind."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from agent.adapters.cameras.pipe import PipeCamera, PixelFormat
from agent.adapters.cameras.video_file import VideoFileCamera
from agent.domain.errors import Code, NanofleetError, RefusedError, TransientError
from tests.polling import until_blocking
from tests.programs import find_program
from tests.videos import HEIGHT_PX, WIDTH_PX, convert, number_in, numbered, write_video

FRAME_BYTES = WIDTH_PX * HEIGHT_PX * 3
PREAMBLE = f"import os, signal, sys, time; out = sys.stdout.buffer; frame = bytes({FRAME_BYTES})\n"


def camera_of(program: str, *, patience_s: float = 30.0) -> PipeCamera:
    """A camera over a small Python program; `out` is its standard output, `frame` a black frame."""
    return PipeCamera(
        command=[sys.executable, "-u", "-c", PREAMBLE + program],
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        patience_s=patience_s,
    )


def failure_of(read: Callable[[], object]) -> NanofleetError:
    with pytest.raises(NanofleetError) as caught:
        read()
    return caught.value


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended may still wait for its new parent, init, to notice."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.ffmpeg
@pytest.mark.parametrize("pixel_format", ["bgr24", "rgb24", "i420", "nv12"])
def test_ffmpeg_gives_the_frames_that_the_file_holds(tmp_path: Path, pixel_format: PixelFormat) -> None:
    source = write_video(tmp_path / "source.avi", 12)
    path = convert(source, tmp_path / "clip.mp4", "-c:v", "libx264", "-qp", "10", "-pix_fmt", "yuv420p")
    in_ffmpeg = {"i420": "yuv420p"}.get(pixel_format, pixel_format)
    piped = PipeCamera(
        command=[
            *(find_program("ffmpeg") or "", "-nostdin", "-loglevel", "error", "-i", str(path)),
            *("-f", "rawvideo", "-pix_fmt", in_ffmpeg, "-"),
        ],
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        pixel_format=pixel_format,
    )
    played = VideoFileCamera(path=path, pace="fast")
    piped.open()
    played.open()
    for number in range(12):
        got, wanted = piped.read(), played.read()
        assert got is not None
        assert wanted is not None
        assert number_in(got) == number
        assert got.shape == wanted.shape
        # Two converters from YUV round differently, and differ more where colour changes from dot to dot.
        difference = np.abs(got.astype(int) - wanted.astype(int))
        assert difference.mean() < 2.5
        assert np.percentile(difference, 90) <= 8
    assert failure_of(piped.read).message == "the command ffmpeg ended (exit status 0)"
    piped.close()
    played.close()


def raw_of(picture: NDArray[np.uint8], pixel_format: PixelFormat) -> bytes:
    if pixel_format == "bgr24":
        return picture.tobytes()
    if pixel_format == "rgb24":
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).tobytes()
    planar = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8)
    if pixel_format == "i420":
        return planar.tobytes()
    blue, red = planar[HEIGHT_PX:].reshape(2, -1)
    return planar[:HEIGHT_PX].tobytes() + np.stack([blue, red], axis=1).tobytes()


@pytest.mark.parametrize("pixel_format", ["bgr24", "rgb24", "i420", "nv12"])
def test_each_layout_of_a_frame_becomes_bgr(tmp_path: Path, pixel_format: PixelFormat) -> None:
    pictures = [numbered(number) for number in range(3)]
    raw = tmp_path / "raw"
    raw.write_bytes(b"".join(raw_of(picture, pixel_format) for picture in pictures))
    camera = PipeCamera(
        command=["cat", str(raw)], width_px=WIDTH_PX, height_px=HEIGHT_PX, pixel_format=pixel_format
    )
    camera.open()
    frames = [camera.read() for _ in pictures]
    camera.close()
    for frame, picture in zip(frames, pictures, strict=True):
        assert frame is not None
        assert np.abs(frame.astype(int) - picture.astype(int)).mean() < (
            3 if "2" not in pixel_format[1:] else 2
        )


def test_frame_that_comes_in_pieces_is_put_together() -> None:
    camera = camera_of(
        "for at in range(0, len(frame), 10_007): out.write(bytes([7]) * len(frame[at:at + 10_007]))\n"
        "time.sleep(600)"
    )
    camera.open()
    frame = camera.read()
    camera.close()
    assert frame is not None
    assert (frame == 7).all()


def test_command_that_fails_is_told_with_status_and_last_words() -> None:
    camera = camera_of("out.write(frame); sys.stderr.write('opening\\nno such camera\\n'); sys.exit(3)")
    camera.open()
    assert camera.read() is not None
    error = failure_of(camera.read)
    camera.close()
    assert isinstance(error, TransientError)
    assert error.code is Code.ENDED
    assert error.message.endswith("ended (exit status 3): no such camera")


def test_end_in_the_middle_of_a_frame_and_by_a_signal_is_told() -> None:
    camera = camera_of("out.write(frame + b'x'); os.kill(os.getpid(), signal.SIGSEGV)")
    camera.open()
    assert camera.read() is not None
    error = failure_of(camera.read)
    camera.close()
    assert "ended in the middle of a frame (killed by SIGSEGV)" in error.message


def test_command_that_falls_silent_is_a_timeout() -> None:
    camera = camera_of(
        "out.write(frame); sys.stderr.write('waiting for the sensor'); time.sleep(600)", patience_s=1
    )
    camera.open()
    assert camera.read() is not None
    error = failure_of(camera.read)
    camera.close()
    assert isinstance(error, TransientError)
    assert error.code is Code.TIMEOUT
    assert "wrote no frame within 1 s: waiting for the sensor" in error.message


def test_credentials_in_what_the_command_says_are_hidden() -> None:
    camera = camera_of(
        "sys.stderr.write('rtsp://admin:s3cr@t/1@10.0.0.7/live: 401 Unauthorized'); sys.exit(1)"
    )
    camera.open()
    error = failure_of(camera.read)
    camera.close()
    assert error.message.endswith(": rtsp://***@10.0.0.7/live: 401 Unauthorized")


def test_command_that_talks_without_end_neither_blocks_nor_fills_the_memory() -> None:
    camera = camera_of(
        "for number in range(300): sys.stderr.write('x' * 5000 + '\\n'); out.write(frame)\n"
        "sys.stderr.write('y' * 100_000); sys.exit(1)"
    )
    camera.open()
    for _ in range(300):
        assert camera.read() is not None
    error = failure_of(camera.read)
    camera.close()
    assert len(error.message) < 500
    assert error.message.endswith("yyy")


def test_command_that_closes_its_stderr_is_still_read() -> None:
    camera = camera_of("os.close(2); time.sleep(0.3); out.write(frame * 2); time.sleep(600)")
    camera.open()
    assert camera.read() is not None
    assert camera.read() is not None
    camera.close()


@pytest.mark.parametrize("command", [["no-such-program-anywhere"], ["/dev/null"], ["/etc"]])
def test_command_that_cannot_be_run_is_refused(command: list[str]) -> None:
    error = failure_of(PipeCamera(command=command, width_px=16, height_px=16).open)
    assert isinstance(error, RefusedError)
    assert error.code is Code.OPEN


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    raw = tmp_path / "a b; exit 1 $HOME `id`"
    raw.write_bytes(numbered(5).tobytes())
    camera = PipeCamera(command=["cat", str(raw)], width_px=WIDTH_PX, height_px=HEIGHT_PX)
    camera.open()
    frame = camera.read()
    camera.close()
    assert frame is not None
    assert number_in(frame) == 5


@pytest.mark.parametrize(
    "stubborn", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"], ids=["polite", "deaf"]
)
def test_close_ends_the_command_and_what_it_started(stubborn: str) -> None:
    before = children()
    camera = camera_of(f"{stubborn}if os.fork() == 0: time.sleep(600)\nout.write(frame); time.sleep(600)")
    camera.open()
    assert camera.read() is not None
    started = [child for child in children() if child not in before]
    assert len(started) == 2
    camera.close()
    until_blocking(lambda: not any(is_alive(child) for child in started))
    assert [child for child in children() if child not in before] == []


def test_crashed_command_leaves_no_zombie_and_no_grandchild() -> None:
    before = children()
    camera = camera_of(
        "if os.fork() == 0: os.close(1); os.close(2); time.sleep(600)\ntime.sleep(0.1); os._exit(9)"
    )
    camera.open()
    assert "exit status 9" in failure_of(camera.read).message
    camera.close()
    until_blocking(lambda: [child for child in children() if child not in before] == [])


def test_nothing_leaks_over_many_lives() -> None:
    before = None
    for _ in range(12):
        camera = camera_of("out.write(frame); sys.exit(1)")
        camera.open()
        assert camera.read() is not None
        assert failure_of(camera.read).code is Code.ENDED
        camera.close()
        before = before or open_descriptors()
    assert open_descriptors() == before
    assert threading.active_count() < 20


def test_session_is_its_own_so_that_a_terminal_does_not_interrupt_it() -> None:
    before = children()
    camera = camera_of("out.write(frame); time.sleep(600)")
    camera.open()
    assert camera.read() is not None
    (child,) = [child for child in children() if child not in before]
    session = os.getsid(child.pid)
    camera.close()
    assert session == child.pid


def test_odd_side_of_a_halved_format_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="both sides must be even"):
        PipeCamera(command=["cat"], width_px=15, height_px=16, pixel_format="nv12")
