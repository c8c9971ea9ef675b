"""The two models that the demo carries, run by the agent's own adapter on what they never saw."""

import ast
import json
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import pytest

import agent.demo
from agent.adapters.cameras.conveyor import CLASS_NAMES, ConveyorScene
from agent.adapters.onnx.anomaly import OnnxAnomaly
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.load import load_model
from agent.adapters.sensors.vibration_signal import CHANNELS, Fault, VibrationSignal
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from agent.workbench.average_precision import Scored, evaluate

_MODELS = Path(agent.demo.__file__).parent / "models"
_PARTS, _VIBRATION = _MODELS / "parts.onnx", _MODELS / "vibration.onnx"

# No training run takes seeds as high as these.
_UNSEEN_SEED = 900_000_000


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def parts() -> OnnxDetector:
    model = load_model(name="parts", path=_PARTS)
    assert isinstance(model, OnnxDetector)
    return model


@pytest.fixture(scope="module")
def vibration() -> OnnxAnomaly:
    model = load_model(name="vibration", path=_VIBRATION)
    assert isinstance(model, OnnxAnomaly)
    return model


def test_parts_file_says_what_it_is() -> None:
    said = _session(_PARTS).get_modelmeta().custom_metadata_map
    assert list(ast.literal_eval(said["names"]).items()) == list(enumerate(CLASS_NAMES))
    assert json.loads(said["imgsz"]) == [320, 320]
    assert (said["task"], said["stride"], said["license"]) == ("detect", "32", "Apache-2.0")
    assert said["version"]
    assert said["seed"].isdigit()


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 320, 320), (3, 256, 320), (2, 192, 320)])
def test_parts_model_takes_any_batch_and_multiples_of_32(batch: int, height: int, width: int) -> None:
    session = _session(_PARTS)
    assert [tensor.name for tensor in (*session.get_inputs(), *session.get_outputs())] == [
        "images",
        "output0",
    ]
    images = np.random.default_rng(0).random((batch, 3, height, width), np.float32)
    output = session.run(None, {"images": images})[0]
    cells = height * width // 64 + height * width // 256
    assert output.shape == (batch, 4 + len(CLASS_NAMES), cells)
    assert (output[:, 2:4] >= 0).all()
    assert ((output[:, 4:] >= 0) & (output[:, 4:] <= 1)).all()
    # One picture's answer does not depend on what else is in the batch.
    assert np.allclose(session.run(None, {"images": images[:1]})[0], output[:1], atol=1e-3)


@pytest.mark.parametrize("shape", ["file", "auto"])
@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 720)])
def test_parts_model_finds_what_is_there(shape: Literal["file", "auto"], width: int, height: int) -> None:
    model = load_model(name="parts", path=_PARTS, shape=shape)
    assert isinstance(model, OnnxDetector)
    scored = []
    for seed in range(5):
        scene = ConveyorScene(width_px=width, height_px=height, seed=_UNSEEN_SEED + seed, shuffled=True)
        for number in range(6):
            look = Look(pixels=scene.render(number), thresholds=Thresholds(confidence=0.001))
            (found,), _ = model.detect([look])
            truth = scene.truth(number)
            scored.append(Scored(found.boxes, found.confidence, found.class_id, truth.boxes, truth.class_id))
    figures = evaluate(scored, dict(enumerate(CLASS_NAMES)))
    assert figures.map50 > 0.93
    assert figures.map50_95 > 0.7


def test_parts_model_finds_what_the_demos_moving_belt_shows(parts: OnnxDetector) -> None:
    scene = ConveyorScene(width_px=640, height_px=480, seed=_UNSEEN_SEED)
    scored = []
    for number in range(0, 2000, 80):
        look = Look(pixels=scene.render(number), thresholds=Thresholds(confidence=0.001))
        (found,), _ = parts.detect([look])
        truth = scene.truth(number)
        scored.append(Scored(found.boxes, found.confidence, found.class_id, truth.boxes, truth.class_id))
    assert evaluate(scored, dict(enumerate(CLASS_NAMES))).map50 > 0.93


def test_parts_model_finds_nothing_on_grey(parts: OnnxDetector) -> None:
    grey = np.full((480, 640, 3), 114, np.uint8)
    (found,), _ = parts.detect([Look(pixels=grey, thresholds=Thresholds())])
    assert len(found) == 0


def test_vibration_file_says_what_it_is(vibration: OnnxAnomaly) -> None:
    said = _session(_VIBRATION).get_modelmeta().custom_metadata_map
    assert (said["task"], said["license"]) == ("anomaly", "Apache-2.0")
    assert vibration.channels == CHANNELS
    assert (vibration.window, vibration.rate_hz) == (128, 200.0)
    assert len(json.loads(said["mean"])) == len(json.loads(said["std"])) == len(CHANNELS)


def test_vibration_model_gives_back_any_batch_of_windows() -> None:
    session = _session(_VIBRATION)
    assert [tensor.name for tensor in (*session.get_inputs(), *session.get_outputs())] == [
        "window",
        "reconstruction",
    ]
    windows = np.random.default_rng(0).standard_normal((5, 128, 3)).astype(np.float32)
    assert session.run(None, {"window": windows})[0].shape == windows.shape


@pytest.mark.parametrize("seed", [0, 1, _UNSEEN_SEED])
def test_vibration_model_tells_a_fault_from_a_sound_machine(vibration: OnnxAnomaly, seed: int) -> None:
    signal = VibrationSignal(rate_hz=vibration.rate_hz, seed=seed, fault_every_s=30, fault_for_s=10)
    samples = signal.samples(0, round(60 * vibration.rate_hz))
    sound: list[float] = []
    faulty: dict[Fault, list[float]] = {Fault.BEARING: [], Fault.IMBALANCE: []}
    for first in range(0, len(samples) - vibration.window + 1, vibration.hop):
        score, _ = vibration.score(samples[first : first + vibration.window])
        begin, end = signal.fault_at(first), signal.fault_at(first + vibration.window - 1)
        if begin is None and end is None:
            sound.append(score)
        elif begin is not None and begin is end:
            faulty[begin].append(score)
    assert max(sound) < vibration.threshold
    assert all(len(scores) > 20 and min(scores) > vibration.threshold for scores in faulty.values())


def test_model_card_tells_the_version_and_licence_of_both() -> None:
    card = (_MODELS / "MODEL_CARD.md").read_text(encoding="utf-8")
    for path in (_PARTS, _VIBRATION):
        said = _session(path).get_modelmeta().custom_metadata_map
        assert path.name in card
        assert said["version"] in card
        assert said["license"] in card
