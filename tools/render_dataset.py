"""Render pictures of the conveyor with their truth, as a dataset in YOLO's form and in COCO's.

    python -m tools.render_dataset FOLDER --pictures 20

For trying `nanofleet model eval`, and for its tests. The same seed gives the same pictures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer

from agent.adapters.cameras.conveyor import CLASS_NAMES, ConveyorScene, Truth

_FORMATS = ((640, 480), (1280, 720))


def render(folder: Path, *, pictures: int, seed: int) -> None:
    """Each picture of a scene of its own, half 4:3 and half 16:9, as in the demo model's evaluation."""
    images = folder / "images"
    images.mkdir(parents=True)
    truths = []
    for index in range(pictures):
        width_px, height_px = _FORMATS[index % 2]
        scene = ConveyorScene(width_px=width_px, height_px=height_px, seed=seed + index, shuffled=True)
        cv2.imwrite(str(images / f"{index:04d}.png"), scene.render(index))
        truths.append(scene.truth(index))
    _write_yolo(folder, truths)
    _write_coco(folder, truths)


def _write_yolo(folder: Path, truths: list[Truth]) -> None:
    (folder / "labels").mkdir()
    names = "\n".join(f"  {index}: {name}" for index, name in enumerate(CLASS_NAMES))
    (folder / "data.yaml").write_text(f"path: .\nval: images\nnames:\n{names}\n", encoding="utf-8")
    for index, truth in enumerate(truths):
        width_px, height_px = _FORMATS[index % 2]
        lines = []
        for class_id, (x1, y1, x2, y2) in zip(truth.class_id.tolist(), truth.boxes.tolist(), strict=True):
            centre = ((x1 + x2) / 2 / width_px, (y1 + y2) / 2 / height_px)
            sides = ((x2 - x1) / width_px, (y2 - y1) / height_px)
            lines.append(" ".join([str(class_id), *(f"{side:.9f}" for side in (*centre, *sides))]))
        (folder / "labels" / f"{index:04d}.txt").write_text("\n".join(lines), encoding="utf-8")


def _write_coco(folder: Path, truths: list[Truth]) -> None:
    annotations: list[dict[str, Any]] = []
    for index, truth in enumerate(truths):
        for class_id, (x1, y1, x2, y2) in zip(truth.class_id.tolist(), truth.boxes.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    # COCO's ids need not begin at 0.
                    "category_id": class_id + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    images = [
        {
            "id": index,
            "file_name": f"{index:04d}.png",
            "width": _FORMATS[index % 2][0],
            "height": _FORMATS[index % 2][1],
        }
        for index in range(len(truths))
    ]
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(CLASS_NAMES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(document), encoding="utf-8")


def main(
    folder: Annotated[Path, typer.Argument(help="A folder to make.")],
    *,
    pictures: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the first scene.")] = 1_000_000,
) -> None:
    """Render a dataset: images/ with labels/ and data.yaml (YOLO) and instances.json (COCO)."""
    render(folder, pictures=pictures, seed=seed)


if __name__ == "__main__":
    typer.run(main)
