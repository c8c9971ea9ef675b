"""The gate: a model that is broken, in whichever of the usual ways, is not let through, and it says why."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from agent.adapters.cameras.conveyor import ConveyorScene
from agent.adapters.models import ModelPackage, open_package
from agent.adapters.models.golden import GoldenPicture, GoldenWindow, read_golden
from agent.adapters.onnx import load_model
from agent.adapters.onnx.admission import Admission, Standards, admit
from agent.adapters.onnx.detector import OnnxDetector
from agent.domain.errors import Code, RefusedError
from agent.vision.feeding import Feeder, size_of
from agent.workbench.packing import pack
from tests.model_packages import PARTS, VIBRATION, package_of, reading_pixels_last, with_golden_of
from tests.onnx_files import COLOUR_METADATA, colour_detector


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    for number in range(2):
        scene = ConveyorScene(width_px=400, height_px=300, seed=number, shuffled=True)
        cv2.imwrite(str(folder / f"{number}.png"), scene.render(number))
    return package_of(PARTS, folder / "parts", images=sorted(folder.glob("*.png")))


def copy_of(package: Path, tmp_path: Path, *, card: str = "") -> Path:
    import shutil

    copied = tmp_path / "copied"
    shutil.copytree(package, copied)
    with (copied / "model.yaml").open("a") as file:
        file.write(card)
    return copied


def held(
    package: Path, tmp_path: Path, *, standards: dict[str, Any] | None = None, **options: Any
) -> Admission:
    opened = open_package(package, cache=tmp_path / "cache")
    model = load_model(name="parts", path=opened.model_file, package=opened, **options)
    return admit(model, Standards(**(standards_of(opened) | (standards or {}))))


def standards_of(package: ModelPackage) -> dict[str, Any]:
    card = package.card
    return {"goldens": package.goldens, "allowed": card.allowed(), "slowest_ms": card.slowest_ms}


def refusal(package: Path, tmp_path: Path, **options: Any) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        held(package, tmp_path, **options)
    assert refused.value.message.startswith("model parts is not admitted: ")
    return refused.value


def test_model_as_it_was_packed_passes_with_other_threads_too(parts: Path, tmp_path: Path) -> None:
    passed = held(parts, tmp_path, threads=2)
    assert (passed.goldens, passed.objects > 4) == (2, True)
    assert passed.box_px == pytest.approx(0, abs=1e-3)
    assert passed.confidence == pytest.approx(0, abs=1e-5)
    assert passed.output == pytest.approx(0, abs=1e-4)
    assert "2 golden inputs agree" in str(passed)


def test_swapped_colours_are_found(parts: Path, tmp_path: Path) -> None:
    refused = refusal(copy_of(parts, tmp_path, card="preprocessing: {colours: bgr}\n"), tmp_path)
    assert refused.code == Code.MODEL
    assert "golden/picture-0" in refused.message


@pytest.mark.parametrize(
    "card",
    [
        "preprocessing: {scale: 1}\n",
        "preprocessing: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}\n",
        "preprocessing: {placement: stretch}\n",
        "preprocessing: {pad: 0}\n",
    ],
)
def test_other_preprocessing_is_found(parts: Path, tmp_path: Path, card: str) -> None:
    assert refusal(copy_of(parts, tmp_path, card=card), tmp_path).code == Code.MODEL


def test_layout_that_is_confused_inside_is_found(parts: Path, tmp_path: Path) -> None:
    confused = reading_pixels_last(PARTS, tmp_path / "confused.onnx")
    refused = refusal(with_golden_of(copy_of(parts, tmp_path), confused), tmp_path)
    assert refused.code == Code.MODEL
    assert "objects" in refused.message


def test_weights_that_collapsed_when_they_were_quantised_are_found(parts: Path, tmp_path: Path) -> None:
    quantised = _quantised(PARTS, tmp_path / "int8.onnx", whole=True)
    package = copy_of(parts, tmp_path, card="precision: int8\n")
    refused = refusal(with_golden_of(package, quantised), tmp_path)
    assert refused.code == Code.MODEL


def test_weights_that_were_quantised_with_care_pass_as_int8_and_not_as_fp32(
    parts: Path, tmp_path: Path
) -> None:
    quantised = _quantised(PARTS, tmp_path / "int8.onnx", whole=False)
    package = with_golden_of(copy_of(parts, tmp_path), quantised)
    assert refusal(package, tmp_path).code == Code.MODEL

    with (package / "model.yaml").open("a") as file:
        file.write("precision: int8\n")
    passed = held(package, tmp_path)
    assert passed.objects > 4
    assert passed.output is None
    assert passed.box_px is not None
    assert 0.01 < passed.box_px < 8


def test_provider_that_is_not_the_one_asked_for_is_found(parts: Path, tmp_path: Path) -> None:
    refused = refusal(parts, tmp_path, provider="cuda", standards={"may_fall_back": False})
    assert refused.code == Code.PROVIDER
    assert "to run on cuda, and cpu would run it" in refused.message
    assert held(parts, tmp_path, provider="cuda").goldens == 2


def test_model_that_is_too_slow_here_is_refused(parts: Path, tmp_path: Path) -> None:
    refused = refusal(copy_of(parts, tmp_path, card="slowest_ms: 0.001\n"), tmp_path)
    assert refused.code == Code.TIMEOUT
    assert "0.001 ms are allowed" in refused.message

    refused = refusal(parts, tmp_path, standards={"deadline_s": 0.0})
    assert refused.code == Code.TIMEOUT


def test_golden_input_of_a_size_that_the_file_does_not_take_is_told(parts: Path, tmp_path: Path) -> None:
    fixed = colour_detector(tmp_path / "fixed.onnx", sides=(1, 3, 64, 96), metadata=COLOUR_METADATA)
    refused = refusal(with_golden_of(copy_of(parts, tmp_path), fixed), tmp_path)
    assert refused.code == Code.COMPATIBILITY
    assert "pack it again" in refused.message


def test_windows_are_held_to_their_scores(tmp_path: Path) -> None:
    package = package_of(VIBRATION, tmp_path / "vibration", name="vibration")
    opened = open_package(package, cache=tmp_path / "cache")
    model = load_model(name="parts", path=opened.model_file, package=opened)
    assert admit(model, Standards(**standards_of(opened))).score == pytest.approx(0, abs=1e-6)

    # Normalised by another mean: every score is another.
    other = copy_of(package, tmp_path, card="metadata: {std: [1.0, 1.0, 1.0]}\n")
    refused = refusal(other, tmp_path)
    assert refused.code == Code.MODEL
    assert "the score of golden/window-" in refused.message


def test_golden_of_another_kind_of_model_is_refused(parts: Path, tmp_path: Path) -> None:
    package = with_golden_of(copy_of(parts, tmp_path), VIBRATION)
    assert refusal(package, tmp_path).code == Code.COMPATIBILITY


def test_model_without_anything_golden_is_tried_and_says_so() -> None:
    passed = admit(load_model(name="parts", path=PARTS), Standards())
    assert passed.goldens == 0
    assert "nothing golden came with it" in str(passed)


def test_damaged_golden_input_is_refused_with_its_name(parts: Path, tmp_path: Path) -> None:
    package = copy_of(parts, tmp_path)
    (package / "golden/picture-0.npz").write_bytes(b"PK not really")
    with pytest.raises(RefusedError, match=r"golden/picture-0\.npz cannot be used"):
        held(package, tmp_path)


def test_what_the_card_says_stands_above_what_the_file_says(parts: Path, tmp_path: Path) -> None:
    card = "classes: [nut, bolt, washer, scratch]\n"
    opened = open_package(copy_of(parts, tmp_path, card=card), cache=tmp_path / "cache")
    own = load_model(name="parts", path=PARTS).facts
    names = ["nut", "bolt", "washer", "scratch"][: len(own.class_names)]
    if len(names) != 4:
        pytest.fail("the demo's detector has other classes: mend this test")
    facts = load_model(name="parts", path=opened.model_file, package=opened).facts
    assert list(facts.class_names.values()) == names
    assert (facts.version, facts.sha256) == ("1", opened.sha256)


def test_goldens_are_read_as_they_were_written(parts: Path) -> None:
    first = read_golden(parts / "golden/picture-0.npz")
    assert isinstance(first, GoldenPicture)
    assert first.pixels.shape[2] == 3
    assert len(first.found) > 0
    assert [output.shape[0] for output in first.outputs.values()] == [4 + 4]
    assert isinstance(read_golden(parts / "golden/picture-1.npz"), GoldenPicture)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"picture": np.zeros((4, 4, 3), np.uint8)}, "lacks the array 'input_size'"),
        ({"window": np.zeros(4, np.float32), "score": np.float64(1)}, "[window, channels] is wanted"),
        ({"window": np.array([["a"]], object), "score": np.float64(1)}, "object"),
    ],
)
def test_golden_of_another_form_is_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)
    with pytest.raises(RefusedError) as refused:
        read_golden(tmp_path / "a.npz")
    assert said in refused.value.message
    assert refused.value.code == Code.FILE


def test_array_that_says_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    import io
    import zipfile

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**10)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("window.npy", header.getvalue() + bytes(16))
    with pytest.raises(RefusedError, match="and has 16 bytes"):
        read_golden(tmp_path / "a.npz")


def test_windows_golden_is_a_window(tmp_path: Path) -> None:
    package = package_of(VIBRATION, tmp_path / "vibration.zip", name="vibration")
    opened = open_package(package, cache=tmp_path / "cache")
    goldens = [read_golden(path) for path in opened.goldens]
    assert all(isinstance(golden, GoldenWindow) for golden in goldens)


def test_same_model_makes_the_same_package(tmp_path: Path) -> None:
    one = pack(VIBRATION, out=tmp_path / "one.zip", said={"name": "v", "licence": "Apache-2.0"})
    other = pack(VIBRATION, out=tmp_path / "other.zip", said={"name": "v", "licence": "Apache-2.0"})
    assert one.sha256 == other.sha256


def _quantised(model: Path, out: Path, *, whole: bool) -> Path:
    """To 8 bits by the library's own tool, its head only where `whole`: that is what makes it collapse."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    detector = load_model(name="parts", path=model)
    scene = ConveyorScene(width_px=400, height_px=300, seed=7, shuffled=True)
    pictures = [scene.render(number) for number in range(4)]

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(pictures)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            pixels = next(self._left, None)
            if pixels is None:
                return None
            assert isinstance(detector, OnnxDetector)
            size = detector.input_shape.for_frame(size_of(pixels))
            feeder = Feeder(slots=1, size=size, feeding=detector.feeding)
            feeder.put(0, pixels)
            return {detector.session.inputs[0].name: feeder.filled(1).copy()}

    graph = onnx.load(model).graph
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    spared = [] if whole else [node.name for node in graph.node if node.name not in convolutions[:-6]]
    logging.disable(logging.WARNING)
    try:
        quantize_static(
            str(model),
            str(out),
            Pictures(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=spared,
        )
    finally:
        logging.disable(logging.NOTSET)
    return out
