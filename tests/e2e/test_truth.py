"""What arrives at the broker, held against the truth of the scene."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.adapters.cameras.conveyor import CLASS_NAMES, ConveyorScene
from tests.brokers import Mosquitto
from tests.e2e.agent_process import AgentProcess
from tests.e2e.subscriber import Subscriber
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]

WIDTH, HEIGHT, SEED, FRAMES = 640, 480, 20_261, 60

POLICY = f"""\
v: 1
version: 1
policy:
  models: {{parts: {{file: parts.onnx}}}}
  sources:
    line:
      kind: synthetic
      model: parts
      width_px: {WIDTH}
      height_px: {HEIGHT}
      seed: {SEED}
      rate_hz: 15
      frames: {FRAMES}
      overflow: wait
"""


def iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    left_top = np.maximum(one[:2], other[:2])
    right_bottom = np.minimum(one[2:], other[2:])
    inside = float(np.prod(np.clip(right_bottom - left_top, 0, None)))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    return inside / (sum(areas) - inside)


def test_what_arrives_is_what_lies_on_the_belt(tmp_path: Path) -> None:
    model = Path(__file__).parents[2] / "agent/demo/models/parts.onnx"
    with Mosquitto(tmp_path) as broker, Subscriber(tmp_path, broker) as subscriber:
        agent = AgentProcess(
            tmp_path / "node",
            identity=broker.authority.issue("nano-1"),
            port=broker.port,
            policy=POLICY,
            media=[model],
        )
        with agent:
            assert agent.start("--until-ended").wait(within_s=120) == 0
        until_blocking(lambda: len(subscriber.of("detections/line")) >= FRAMES)
        messages = subscriber.of("detections/line")

    scene = ConveyorScene(width_px=WIDTH, height_px=HEIGHT, seed=SEED)
    matched = found = true = 0
    for message in messages:
        truth = scene.truth(message["frame"]["number"])
        open_truths = set(range(len(truth.class_id)))
        true += len(open_truths)
        for item in (each for each in message["objects"] if each["confidence"] >= 0.5):
            found += 1
            box = np.array(item["box"]) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
            hits = [
                place
                for place in open_truths
                if CLASS_NAMES[truth.class_id[place]] == item["class"] and iou(box, truth.boxes[place]) >= 0.5
            ]
            if hits:
                matched += 1
                open_truths.remove(hits[0])
    assert true > 3 * FRAMES
    assert matched / true >= 0.9, f"recall {matched / true:.3f} of {true} parts"
    assert matched / found >= 0.85, f"precision {matched / found:.3f} of {found} detections"
