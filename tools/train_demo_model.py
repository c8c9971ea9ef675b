"""Trains the two models that the demo carries, exports them, and measures them on what they never saw.

    python -m tools.train_demo_model --seed 0

needs the packages of `nanofleet[cpu,train,eval]`. Each model has random numbers of its own, so `--only` gives
the same one as a run of both would.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.adapters.cameras.conveyor import CLASS_NAMES
from tools.demo_training.detector import export_detector, train_detector
from tools.demo_training.evaluation import evaluate_detector, evaluate_vibration
from tools.demo_training.metadata import write_metadata
from tools.demo_training.pictures import LONG_SIDE_PX, Picture, render_all
from tools.demo_training.vibration import train_vibration

MODELS = Path(__file__).resolve().parents[1] / "agent" / "demo" / "models"
_BATCH_SIZE = 16
_PICTURES_PER_SCENE = 50


class Which(StrEnum):
    """The models that there are."""

    BOTH = "both"
    PARTS = "parts"
    VIBRATION = "vibration"


def main(
    *,
    seed: Annotated[int, typer.Option(help="Decides the data and the weights.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of the detector over its pictures.")] = 7,
    scenes: Annotated[int, typer.Option(min=1, help="Rendered scenes, 50 pictures each.")] = 200,
    unseen: Annotated[int, typer.Option(min=1, help="Scenes to evaluate the detector on.")] = 500,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the autoencoder.")] = 6000,
    only: Annotated[Which, typer.Option(help="Train one model only.")] = Which.BOTH,
    evaluate_only: Annotated[bool, typer.Option(help="Measure the files that are there.")] = False,
    output: Annotated[Path, typer.Option(help="Where the ONNX files go.")] = MODELS,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was measured to FILE.")] = None,
) -> None:
    """Trains, exports and measures the demo's models."""
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(os.cpu_count() or 1)
    figures: dict[str, object] = {"seed": seed, "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0]}
    if only in {Which.BOTH, Which.PARTS}:
        path = output / "parts.onnx"
        if not evaluate_only:
            figures["parts_training_s"] = _timed(
                lambda: _train_parts(path, seed=seed, epochs=epochs, scenes=scenes)
            )
        with _bar("parts: evaluating") as tell:
            parts = evaluate_detector(
                path, scenes=unseen, seed=seed, progress=lambda done: tell(done, f"{unseen} scenes")
            )
        figures["parts"] = asdict(parts)
    if only in {Which.BOTH, Which.VIBRATION}:
        path = output / "vibration.onnx"
        if not evaluate_only:
            figures["vibration_training_s"] = _timed(lambda: _train_vibration(path, seed=seed, steps=steps))
        with _bar("vibration: evaluating") as tell:
            vibration = evaluate_vibration(path, seed=seed, progress=lambda done: tell(done, ""))
        figures["vibration"] = asdict(vibration)
    figures["load_at_end"] = os.getloadavg()[0]
    text = json.dumps(figures, indent=2)
    if json_file is not None:
        json_file.write_text(text + "\n", encoding="utf-8")
    print(text)


def _train_parts(path: Path, *, seed: int, epochs: int, scenes: int) -> None:
    pictures: list[Picture] = []
    with _bar("parts: rendering") as tell:
        rendered = render_all(
            seed=seed, scenes=scenes, pictures_per_scene=_PICTURES_PER_SCENE, workers=os.cpu_count() or 1
        )
        for done, scene in enumerate(rendered, start=1):
            pictures += scene
            tell(done / scenes, f"{len(pictures)} pictures")
    with _bar("parts: training") as tell:
        detector = train_detector(
            pictures,
            classes=len(CLASS_NAMES),
            epochs=epochs,
            batch_size=_BATCH_SIZE,
            seed=seed,
            bf16=_has_bf16(),
            progress=lambda done, loss: tell(done, f"loss {loss:.3f}"),
        )
    export_detector(detector, path)
    names = ", ".join(f"{index}: {name!r}" for index, name in enumerate(CLASS_NAMES))
    write_metadata(
        path,
        {
            "description": "Bolts, nuts, washers and gears on a rendered conveyor belt",
            "task": "detect",
            "names": f"{{{names}}}",
            "imgsz": f"[{LONG_SIDE_PX}, {LONG_SIDE_PX}]",
            "stride": "32",
            "batch": "1",
            "channels": "3",
            "seed": str(seed),
        },
    )


def _train_vibration(path: Path, *, seed: int, steps: int) -> None:
    with _bar("vibration: training") as tell:
        entries = train_vibration(
            path, seed=seed, steps=steps, progress=lambda done, loss: tell(done, f"loss {loss:.4f}")
        )
    write_metadata(path, entries)


def _has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 itself; emulated, it would be slower than float32."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(
        f in flags.read_text(encoding="ascii") for f in ("avx512_bf16", "amx_bf16")
    )


def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 1)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr; what it gives takes the share done and a word beside it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[word]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=1.0, word="")
        yield lambda done, word: progress.update(task, completed=done, word=word)


if __name__ == "__main__":
    typer.run(main)
