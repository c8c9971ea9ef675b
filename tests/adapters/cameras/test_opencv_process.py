"""What OpenCV and FFmpeg do to the whole process: what they print, and how cameras hold each other up."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.adapters.cameras.network import NetworkCamera
from agent.domain.errors import Code, NanofleetError
from tests.brokers import free_port
from tests.http_camera import HttpCamera
from tests.rtsp_server import RtspServer
from tests.videos import cut_off, numbered, write_video

PICTURES = [numbered(number) for number in range(100)]
PASSWORD = "hunter2-s3cr3t"

PROGRAM = """
import os, sys
from pathlib import Path
from agent.adapters.cameras.images import ImageFolderCamera
from agent.adapters.cameras.network import NetworkCamera
from agent.adapters.cameras.video_file import VideoFileCamera
from agent.domain.errors import NanofleetError

folder, *urls = sys.argv[1:]
login = ("admin", os.environ["CAMERA_PASSWORD"])
cameras = [NetworkCamera(url=url, credentials=login, open_timeout_s=1, read_timeout_s=1) for url in urls]
cameras += [VideoFileCamera(path=path, pace="fast") for path in Path(folder).iterdir()]
cameras.append(ImageFolderCamera(path=Path(folder), every_s=0))
errors = []
for camera in cameras:
    try:
        camera.open()
        while camera.read() is not None:
            pass
    except NanofleetError as error:
        errors.append(str(error))
    camera.close()
Path(folder, "errors").write_text("\\n".join(errors))
"""


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    video = write_video(tmp_path / "clip.avi", 30)
    cut_off(video, folder / "cut.avi", 0.5)
    (folder / "text.mp4").write_text("no video " * 100)
    (folder / "unknown.avi").write_bytes(video.read_bytes().replace(b"MJPG", b"QQQQ"))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    return folder


def test_nothing_is_printed_whatever_goes_wrong(damaged: Path) -> None:
    with (
        RtspServer(PICTURES, credentials=("admin", PASSWORD), rate_hz=100, stops_after=30) as silent,
        RtspServer(PICTURES, credentials=("admin", "other")) as refusing,
        HttpCamera(
            PICTURES, credentials=("admin", PASSWORD), rate_hz=100, stops_after=9, hangs_up=True
        ) as ending,
        socket.create_server(("127.0.0.1", 0)) as hole,
    ):
        urls = [
            silent.url,
            refusing.url,
            ending.url,
            f"{ending.base}/nothing",
            f"rtsp://127.0.0.1:{hole.getsockname()[1]}/live",
            f"rtsp://127.0.0.1:{free_port()}/live",
            "rtsp://camera.invalid/live",
        ]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(damaged), *urls],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            env={**os.environ, "CAMERA_PASSWORD": PASSWORD},
        )
    told = (damaged / "errors").read_text()

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [
        line for line in done.stdout.splitlines() if "camera." not in line
    ]  # structlog's own, unconfigured
    assert lines == []
    assert PASSWORD not in done.stdout + told
    assert "admin" not in told
    assert len(told.splitlines()) == len(urls) + 4 + 1


def test_dead_camera_holds_no_other_one_up() -> None:
    failed: list[NanofleetError] = []
    with socket.create_server(("127.0.0.1", 0)) as hole, RtspServer(PICTURES) as server:
        dead = NetworkCamera(url=f"rtsp://127.0.0.1:{hole.getsockname()[1]}/live", open_timeout_s=40)

        def open_dead() -> None:
            try:
                dead.open()
            except NanofleetError as error:
                failed.append(error)

        opening = threading.Thread(target=open_dead, daemon=True)
        opening.start()
        connection, _ = hole.accept()  # it is in the middle of it now
        with connection:
            live = NetworkCamera(url=server.url)
            live.open()
            frame = live.read()
            live.close()
            still_opening = opening.is_alive()
    opening.join(20)
    dead.close()

    assert frame is not None
    assert still_opening
    assert [error.code for error in failed] == [Code.OPEN]
