from __future__ import annotations

import pytest

from agent.adapters.onnx.metadata import read_detector, read_task
from agent.vision.letterbox import Size


@pytest.mark.parametrize(
    "names",
    [
        "{0: 'cat', 1: 'dog'}",
        '{"0": "cat", "1": "dog"}',
        "['cat', 'dog']",
        '["cat", "dog"]',
        "{1: 'dog', 0: 'cat'}",
    ],
)
def test_names_are_read_as_python_or_json_wrote_them(names: str) -> None:
    read = read_detector({"names": names}).class_names
    assert read is not None
    assert list(read.items()) == [(0, "cat"), (1, "dog")]


@pytest.mark.parametrize(
    "names",
    [
        "{}",
        "[]",
        "cat",
        "{0: 'cat', 2: 'dog'}",
        "{'a': 'b'}",
        "3",
        "print(1)",
        "[" * 100_000,
        "'x' * 9",
        "\0",
    ],
)
def test_names_that_are_none_are_refused(names: str) -> None:
    with pytest.raises(ValueError, match="metadata names"):
        read_detector({"names": names})


def test_metadata_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="characters"):
        read_detector({"names": "[" + "'a'," * 100_000 + "]"})


@pytest.mark.parametrize(
    ("imgsz", "size"),
    [("[384, 640]", Size(384, 640)), ("640", Size(640, 640)), ("(320, 256)", Size(320, 256))],
)
def test_imgsz_is_height_and_width(imgsz: str, size: Size) -> None:
    assert read_detector({"imgsz": imgsz}).input_size == size


@pytest.mark.parametrize(("stride", "wanted"), [("32", 32), ("[8, 16, 32]", 32), ("64", 64)])
def test_stride_is_the_coarsest(stride: str, wanted: int) -> None:
    assert read_detector({"stride": stride}).stride == wanted


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("imgsz", "[640]"),
        ("imgsz", "[640, 0]"),
        ("imgsz", "True"),
        ("imgsz", "'640'"),
        ("stride", "0"),
        ("stride", "1.5"),
        ("kpt_shape", "[17]"),
        ("kpt_shape", "[17, 4]"),
        ("kpt_shape", "[0, 3]"),
    ],
)
def test_a_wrong_value_is_named(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"metadata {key}"):
        read_detector({key: value})


def test_absent_metadata_is_none() -> None:
    read = read_detector({})
    assert (read.class_names, read.input_size, read.stride, read.keypoint_shape, read.end_to_end) == (
        None,
        None,
        32,
        None,
        False,
    )
    assert read_task({}) is None


def test_keypoints_are_points_and_numbers() -> None:
    assert read_detector({"kpt_shape": "[17, 3]"}).keypoint_shape == (17, 3)
