"""Measure how soon a policy from the broker takes effect: from its PUBLISH to the first detection under it.

A real agent with two rendered cameras, mosquitto over mutual TLS, and an operator who raises and lowers a
threshold over `config/desired`. docs/benchmarks.md says how to read what it prints.
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from benchmarks.environment import OtherLoad, describe_machine
from benchmarks.figures import Figure
from benchmarks.plain import JsonFile, Quick, write_figures
from benchmarks.progress import progress_bar
from benchmarks.tables import environment_table, figures_table
from tests.brokers import Mosquitto
from tests.e2e.agent_process import SITE, AgentProcess
from tests.faults.consumer import Consumer
from tests.polling import until_blocking
from tests.programs import missing_packages

_NODE: Final = "nano-1"
_CAMERAS: Final = ("line-a", "line-b")
_MODEL: Final = Path(__file__).parents[1] / "agent/demo/models/parts.onnx"
_CHANGES: Final = 40
_QUICK_CHANGES: Final = 4
_WITHIN_S: Final = 30.0
_PAUSE_S: Final = (1.0, 1.3)
"""Between two changes: seldom enough that the node does not take them for a flood, and at no fixed phase."""
_WIDTH: Final = 110

GOALS: Final = {"threshold_p95_ms": "≤ 100", "frames_missing": "0"}


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a threshold, in milliseconds from its PUBLISH.

    `made_ms`: until the first detection under it had been made, of the camera that was first. `arrived_ms`:
    until it was at a subscriber. `told_ms`: until `config/reported` said that it is in force.
    """

    made_ms: float
    arrived_ms: float
    told_ms: float


def main(
    *,
    json_file: JsonFile = None,
    quick: Quick = False,
    changes: Annotated[
        int | None, typer.Option(min=2, help=f"How often the threshold changes. [default: {_CHANGES}]")
    ] = None,
    rate_hz: Annotated[float, typer.Option(min=1, max=100, help="Frames a second of each camera.")] = 15.0,
) -> None:
    """Measure, print tables to stdout, and write the figures where --json says."""
    if missing := missing_packages("broker"):
        typer.echo(f"benchmarks.control: install {' and '.join(missing)}", err=True)
        raise typer.Exit(1)
    environment, others = describe_machine(), OtherLoad()
    changes = changes or (_QUICK_CHANGES if quick else _CHANGES)
    with tempfile.TemporaryDirectory(prefix="nanofleet-bench-") as name:
        measured, missing_frames = _measure(Path(name), changes=changes, rate_hz=rate_hz)
    environment |= {"changes": changes, "rate_hz": rate_hz, "quick": quick, "others_cores": others.cores()}
    figures = [*_figures(measured), _single("frames_missing", "", missing_frames)]
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    console.print(environment_table(environment))
    console.print(figures_table(figures, GOALS))
    write_figures(json_file, {figure.name: figure.value for figure in figures}, environment)


def _measure(folder: Path, *, changes: int, rate_hz: float) -> tuple[list[Change], int]:
    """What each change took, and how many frame numbers are missing from the first to the last of them."""
    with Mosquitto(folder) as broker, Consumer(broker) as consumer, progress_bar() as progress:
        agent = AgentProcess(
            folder / "node",
            identity=broker.authority.issue(_NODE),
            port=broker.port,
            policy=json.dumps(_document(1, 0.25, rate_hz)),
            media=[_MODEL],
        )
        measuring = progress.add_task("starting", total=changes)
        measured, pause = [], Random(1)
        with agent.start():
            until_blocking(lambda: all(_detections(consumer, name) for name in _CAMERAS), within_s=_WITHIN_S)
            until_blocking(lambda: _told(consumer, 1) is not None, within_s=_WITHIN_S)
            for number in range(changes):
                confidence = 0.9 if number % 2 == 0 else 0.25
                time.sleep(pause.uniform(*_PAUSE_S))
                measured.append(_change(consumer, number + 2, confidence, rate_hz))
                progress.update(measuring, description="changing a threshold", advance=1)
            agent.stop()
        numbers = {
            name: [found["frame"]["number"] for found in _detections(consumer, name)] for name in _CAMERAS
        }
    return measured, sum(max(seen) + 1 - min(seen) - len(set(seen)) for seen in numbers.values())


def _change(consumer: Consumer, version: int, confidence: float, rate_hz: float) -> Change:
    payload = json.dumps(_document(version, confidence, rate_hz)).encode()
    since, published_s = consumer.count, time.time()
    consumer.publish(f"edge/v1/{SITE}/{_NODE}/config/desired", payload, retain=True)

    def first() -> Any:
        for message in consumer.messages(since):
            if message.stream.startswith("detections/") and message.content["config_version"] == version:
                return message
        return None

    until_blocking(lambda: first() is not None, within_s=_WITHIN_S, every_s=0.002)
    until_blocking(lambda: _told(consumer, version, since) is not None, within_s=_WITHIN_S, every_s=0.002)
    told_s = _told(consumer, version, since)
    found = first()
    captured_s = datetime.fromisoformat(found.content["time"]).timestamp()
    made_s = captured_s + found.content["latency_ms"]["total"] / 1e3
    return Change(
        made_ms=(made_s - published_s) * 1e3,
        arrived_ms=(found.at_s - published_s) * 1e3,
        told_ms=((told_s or 0.0) - published_s) * 1e3,
    )


def _document(version: int, confidence: float, rate_hz: float) -> dict[str, Any]:
    cameras = {
        name: {"kind": "synthetic", "model": "parts", "rate_hz": rate_hz, "seed": seed, "overflow": "wait"}
        for seed, name in enumerate(_CAMERAS)
    }
    models = {"parts": {"file": "parts.onnx", "thresholds": {"confidence": confidence}}}
    return {
        "v": 1,
        "version": version,
        "issuer": "benchmark",
        "policy": {"models": models, "sources": cameras},
    }


def _detections(consumer: Consumer, camera: str) -> list[dict[str, Any]]:
    return consumer.of(f"detections/{camera}")


def _told(consumer: Consumer, version: int, since: int = 0) -> float | None:
    """When `config/reported` said that this version is in force."""
    for message in consumer.messages(since):
        if message.stream == "config/reported":
            content = message.content
            if content["version"] == version and content["status"] == "applied":
                return message.at_s
    return None


def _figures(changes: list[Change]) -> list[Figure]:
    figures = []
    for name in ("made", "arrived", "told"):
        values = sorted(getattr(change, f"{name}_ms") for change in changes)
        cuts = quantiles(values, n=20, method="inclusive")
        prefix = "threshold" if name == "made" else f"threshold_{name}"
        figures += [
            _single(f"{prefix}_p50_ms", "ms", round(cuts[9], 1)),
            _single(f"{prefix}_p95_ms", "ms", round(cuts[18], 1)),
            _single(f"{prefix}_max_ms", "ms", round(values[-1], 1)),
        ]
    return figures


def _single(name: str, unit: str, value: float) -> Figure:
    return Figure(name, unit, float(value), (float(value),))


if __name__ == "__main__":
    typer.run(main)
