"""Each kind of camera with what it looks at, for the tests that all kinds have in common.

A rig begins with nothing there: `appear` makes the file, starts the server or plugs the device in.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from agent.adapters.cameras.device import DeviceCamera
from agent.adapters.cameras.images import ImageFolderCamera
from agent.adapters.cameras.network import NetworkCamera
from agent.adapters.cameras.pipe import PipeCamera
from agent.adapters.cameras.synthetic import ConveyorCamera
from agent.adapters.cameras.video_file import VideoFileCamera
from agent.domain.errors import Code, TransientError
from agent.ports import FrameSource
from tests.brokers import free_port
from tests.fakes.sources import ScriptedCamera
from tests.fakes.v4l2 import FakeDevice
from tests.http_camera import HttpCamera
from tests.rtsp_server import RtspServer
from tests.videos import HEIGHT_PX, WIDTH_PX, numbered, write_pictures, write_video

COUNT: Final = 5


class Rig:
    """What the tests need of a kind. `folder` is the test's own; servers and the like go into `stack`."""

    shows_numbers = True
    """Whether its pictures are those of tests.videos."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.there = False
        self.port = free_port()

    def camera(self) -> FrameSource:
        raise NotImplementedError

    def waiting(self) -> FrameSource:
        """A camera whose second frame comes much later than the first."""
        raise NotImplementedError

    def appear(self) -> None:
        self.there = True


class FileRig(Rig):
    def camera(self) -> FrameSource:
        return VideoFileCamera(path=self.folder / "clip.avi", pace="fast")

    def waiting(self) -> FrameSource:
        return VideoFileCamera(path=write_video(self.folder / "slow.avi", 3, rate_hz=0.05))

    def appear(self) -> None:
        write_video(self.folder / "clip.avi", COUNT)


class ImagesRig(Rig):
    def camera(self) -> FrameSource:
        return ImageFolderCamera(path=self.folder / "pictures", every_s=0)

    def waiting(self) -> FrameSource:
        return ImageFolderCamera(path=write_pictures(self.folder / "slow", [0, 1]), every_s=3600)

    def appear(self) -> None:
        write_pictures(self.folder / "pictures", range(COUNT))


class RtspRig(Rig):
    def camera(self) -> FrameSource:
        return NetworkCamera(url=f"rtsp://127.0.0.1:{self.port}/live", open_timeout_s=10, read_timeout_s=5)

    def appear(self) -> None:
        pictures = [numbered(number) for number in range(200)]
        self.stack.enter_context(RtspServer(pictures, rate_hz=60, port=self.port))


class HttpRig(Rig):
    def camera(self) -> FrameSource:
        return NetworkCamera(url=f"http://127.0.0.1:{self.port}/video", open_timeout_s=10, read_timeout_s=5)

    def appear(self) -> None:
        pictures = [numbered(number) for number in range(200)]
        self.stack.enter_context(HttpCamera(pictures, rate_hz=60, port=self.port))


class DeviceRig(Rig):
    def camera(self) -> FrameSource:
        return DeviceCamera(
            device="video0",
            folder=self.folder,
            open_capture=lambda _path: FakeDevice([numbered(number) for number in range(COUNT)]),
        )

    def appear(self) -> None:
        (self.folder / "video0").symlink_to("/dev/null")  # a character device that anybody may open


class PipeRig(Rig):
    def camera(self) -> FrameSource:
        return PipeCamera(command=[str(self.folder / "film")], width_px=WIDTH_PX, height_px=HEIGHT_PX)

    def waiting(self) -> FrameSource:
        program = (
            f"import sys, time; sys.stdout.buffer.write(bytes({WIDTH_PX * HEIGHT_PX * 3})); time.sleep(600)"
        )
        return PipeCamera(
            command=[sys.executable, "-u", "-c", program],
            width_px=WIDTH_PX,
            height_px=HEIGHT_PX,
            patience_s=300,
        )

    def appear(self) -> None:
        raw = self.folder / "raw"
        raw.write_bytes(b"".join(numbered(number).tobytes() for number in range(COUNT)))
        program = self.folder / "film"
        program.write_text(f'#!/bin/sh\nexec cat "{raw}"\n')
        program.chmod(0o700)


class SyntheticRig(Rig):
    shows_numbers = False

    def camera(self) -> FrameSource:
        return ConveyorCamera(width_px=96, height_px=64, rate_hz=240, seed=1, frames=COUNT)

    def waiting(self) -> FrameSource:
        return ConveyorCamera(width_px=96, height_px=64, rate_hz=0.01, seed=1)


class ScriptedRig(Rig):
    def camera(self) -> FrameSource:
        lacks = None if self.there else TransientError("it is not there", code=Code.OPEN)
        return ScriptedCamera([numbered(number) for number in range(COUNT)], fails_to_open=lacks)


KINDS: Final[dict[str, Callable[[Path, ExitStack], Rig]]] = {
    "file": FileRig,
    "images": ImagesRig,
    "rtsp": RtspRig,
    "http": HttpRig,
    "device": DeviceRig,
    "pipe": PipeRig,
    "synthetic": SyntheticRig,
    "scripted": ScriptedRig,
}
