"""The rendered conveyor as a camera."""

import numpy as np
import pytest

from agent.adapters.cameras.conveyor import ConveyorScene
from agent.adapters.cameras.synthetic import ConveyorCamera
from tests.fakes.schedule import SteppedTime


def test_frames_are_the_pictures_of_the_scene_by_number() -> None:
    camera = ConveyorCamera(width_px=160, height_px=96, rate_hz=240, seed=7, frames=3)
    scene = ConveyorScene(width_px=160, height_px=96, seed=7)
    camera.open()
    frames = [camera.read() for _ in range(4)]
    camera.close()

    assert frames[3] is None
    for number, frame in enumerate(frames[:3]):
        assert frame is not None
        assert np.array_equal(frame, scene.render(number))


def test_frames_come_at_their_rate() -> None:
    time = SteppedTime()
    camera = ConveyorCamera(width_px=64, height_px=64, rate_hz=12.5, seed=1, pacer=time.pacer())
    camera.open()
    for _ in range(5):
        assert camera.read() is not None
    camera.close()
    assert time.waits == pytest.approx([0.08] * 4)
