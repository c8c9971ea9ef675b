"""`nanofleet model eval` as a process, on rendered pictures whose truth is known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.cli.model_command import PARTS, VIBRATION, model, refused
from tools.render_dataset import render

_PICTURES = 8


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures in both forms, in one folder."""
    folder = tmp_path_factory.mktemp("dataset") / "parts"
    render(folder, pictures=_PICTURES, seed=910_000_000)
    return folder


@pytest.fixture
def yolo(rendered: Path, tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(rendered, tmp_path / "yolo"))
    (copied / "instances.json").unlink()
    return copied


@pytest.fixture
def coco(rendered: Path, tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(rendered, tmp_path / "coco"))
    (copied / "data.yaml").unlink()
    return copied


def figures(*arguments: object) -> dict[str, Any]:
    done = model("eval", PARTS, *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def change(folder: Path, edit: dict[str, Any]) -> None:
    """Keys of the COCO form's document replaced."""
    file = folder / "instances.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | edit))


def test_both_forms_of_the_same_pictures_give_the_same_figures(rendered: Path) -> None:
    first, second = figures(rendered), figures(rendered / "instances.json")
    assert first == second
    assert (first["pictures"], first["problems"]) == (_PICTURES, [])
    assert [one["name"] for one in first["classes"]] == ["bolt", "nut", "washer", "gear"]
    # As the model card: 0.968 and 0.830 on 500 scenes.
    assert first["map50"] > 0.93
    assert 0.75 < first["map50_95"] < 0.9
    assert all(0 < one["best_confidence"] < 1 for one in first["classes"])


def test_eval_shows_a_table_and_draws_the_curve(rendered: Path, tmp_path: Path) -> None:
    plot = tmp_path / "curve.png"
    done = model("eval", PARTS, rendered / "data.yaml", "--plot", plot)
    assert (done.exit_code, done.stderr) == (0, "")
    for word in ("AP50-95", "washer", "mean", f"{_PICTURES} pictures"):
        assert word in done.stdout
    drawn = cv2.imread(str(plot))
    assert drawn is not None
    assert min(drawn.shape[:2]) > 400


def test_a_class_of_another_name_is_refused_until_it_is_mapped(coco: Path) -> None:
    categories = [{"id": 1, "name": "Bolt"}, {"id": 2, "name": "mutter"}]
    categories += [{"id": 3, "name": "washer"}, {"id": 4, "name": "gear"}]
    change(coco, {"categories": categories})
    refused(model("eval", PARTS, coco), saying="class 'mutter' is none of the model's (bolt, nut")
    mapped = figures(coco, "--class", "mutter=nut")
    assert [one["name"] for one in mapped["classes"]] == ["bolt", "nut", "washer", "gear"]
    assert mapped["map50"] > 0.93
    without = figures(coco, "--class", "mutter=-")
    assert [one["name"] for one in without["classes"]] == ["bolt", "washer", "gear"]
    assert without["classes_not_in_the_dataset"] == ["nut"]
    refused(model("eval", PARTS, coco, "--class", "screw=bolt"), saying="has no class 'screw'")
    refused(
        model("eval", PARTS, coco, "--class", "mutter=schraube"), saying="'schraube' is none of the model's"
    )


def test_damaged_pictures_and_labels_are_told_and_left_out(yolo: Path) -> None:
    picture = yolo / "images/0003.png"
    picture.write_bytes(picture.read_bytes()[:200])
    labels = yolo / "labels/0004.txt"
    labels.write_text(
        "0 0.5 0.5 0.1\n0 0.5 nan 0.1 0.1\n9 0.5 0.5 0.1 0.1\nbolt\n0 320 240 20 20\n" + labels.read_text()
    )
    done = model("eval", PARTS, yolo, "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["pictures"] == _PICTURES - 1
    assert len(said["problems"]) == 6
    assert said["map50"] > 0.93
    for part in (
        "0003.png",
        "0004.txt:1: has 4 numbers",
        "0004.txt:2: holds a number that is none",
        "0004.txt:3: class 9",
        "0004.txt:4: is no line",
    ):
        assert any(part in problem for problem in said["problems"])
    assert len(done.stderr.splitlines()) == 6


def test_annotations_of_missing_pictures_are_told_and_left_out(coco: Path) -> None:
    (coco / "images/0000.png").unlink()
    document = json.loads((coco / "instances.json").read_text())
    broken = [
        {"id": 9000, "image_id": 1},
        {"id": 9001, "image_id": 77, "category_id": 1, "bbox": [1, 1, 2, 2]},
    ]
    broken += [{"id": 9002, "image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 2]}]
    change(coco, {"annotations": [*document["annotations"], *broken]})
    said = figures(coco)
    assert said["pictures"] == _PICTURES - 1
    assert len(said["problems"]) == 4
    assert any(problem.startswith("0000.png is annotated") for problem in said["problems"])


def test_an_outline_counts_as_its_box_and_labels_lie_beside_pictures(yolo: Path) -> None:
    expected = figures(yolo)["map50_95"]
    flat = yolo / "flat"
    flat.mkdir()
    for picture in sorted((yolo / "images").iterdir()):
        shutil.move(picture, flat / picture.name)
        lines = []
        for line in (yolo / "labels" / f"{picture.stem}.txt").read_text().splitlines():
            name, *rest = line.split()
            x, y, w, h = (float(side) for side in rest)
            corners = (x - w / 2, y - h / 2, x + w / 2, y - h / 2, x + w / 2, y + h / 2, x - w / 2, y + h / 2)
            lines.append(" ".join([name, *map(str, corners)]))
        (flat / f"{picture.stem}.txt").write_text("\n".join(lines))
    listed = "\n".join(f"flat/{picture.name}" for picture in sorted(flat.glob("*.png")))
    (yolo / "all.txt").write_text(listed)
    for place in ("flat", "all.txt"):
        (yolo / "data.yaml").write_text(f"test: {place}\nnames: [bolt, nut, washer, gear]\n")
        assert figures(yolo)["map50_95"] == pytest.approx(expected, abs=1e-6)


def test_coco_pictures_are_found_where_the_form_puts_them(coco: Path) -> None:
    (coco / "annotations").mkdir()
    shutil.move(coco / "instances.json", coco / "annotations/instances_val2017.json")
    shutil.move(coco / "images", coco / "val2017")
    assert figures(coco)["pictures"] == _PICTURES


@pytest.mark.parametrize(
    ("files", "saying"),
    [
        ({}, "is no dataset"),
        ({"data.yaml": "names: [bolt]"}, "has no split val"),
        ({"data.yaml": "val: images"}, "names and val"),
        ({"data.yaml": "val: [}"}, "is no YAML"),
        ({"data.yaml": "names: 7\nval: images"}, "names is neither"),
        (
            {"data.yaml": "names: [bolt]\nval: nowhere"},
            "can be used: nowhere is neither",
        ),
        ({"a.json": "{"}, "is no JSON"),
        ({"a.json": "[]"}, "is no dataset"),
        ({"a.json": '{"images": [], "annotations": [], "categories": []}'}, "holds no picture"),
        ({"a.json": '{"images": [{}], "annotations": [], "categories": []}'}, "an image without id"),
    ],
)
def test_what_is_no_dataset_is_refused_in_one_sentence(
    tmp_path: Path, files: dict[str, str], saying: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    refused(model("eval", PARTS, tmp_path), saying=saying)


def test_bad_arguments_are_refused_in_one_sentence(rendered: Path, tmp_path: Path) -> None:
    dataset = rendered
    refused(model("eval", tmp_path / "no.onnx", dataset), saying="no.onnx cannot be read")
    refused(model("eval", VIBRATION, dataset), saying="a detector or pose model is wanted")
    refused(model("eval", PARTS, tmp_path / "nowhere"), saying="there is no such dataset")
    refused(model("eval", PARTS, PARTS), saying="parts.onnx is no JSON")
    refused(model("eval", PARTS, dataset, "--split", "test"), saying="has no split test; there is val")
    assert model("eval", PARTS, dataset, "--class", "bolt").exit_code == 2


def test_several_sets_of_annotations_are_not_chosen_from(coco: Path) -> None:
    shutil.copy(coco / "instances.json", coco / "more.json")
    refused(model("eval", PARTS, coco), saying="instances.json, more.json: name one")
    assert figures(coco / "more.json")["pictures"] == _PICTURES


def test_all_pictures_damaged_or_none_labelled_is_refused(yolo: Path) -> None:
    for labels in (yolo / "labels").iterdir():
        labels.write_text("")
    refused(model("eval", PARTS, yolo), saying="names no object in any picture")
    (yolo / "labels/0000.txt").write_text("0 0.5 0.5 0.1 0.1")
    for picture in (yolo / "images").iterdir():
        picture.write_bytes(b"no picture")
    refused(model("eval", PARTS, yolo), saying="no picture could be read")
