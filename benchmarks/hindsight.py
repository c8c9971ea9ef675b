"""Measure what `explain` and `what-if` cost: a frame, the event loop, memory, and the lanes beside a trial.

Each is compared with the same work without it, by turns: only ratios and differences within a run count.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from agent.adapters.cel import CelRuleCompiler
from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.contract.policy import Policy
from agent.domain.detections import Detections
from agent.domain.ids import SourceName
from agent.domain.latency import InferenceTiming
from agent.domain.stamp import Stamp
from agent.domain.thresholds import Thresholds
from agent.pipeline.recollection import Entry, Recollection
from agent.pipeline.replaying import Replay, Stance
from agent.pipeline.rests import REST_S, Rests
from agent.pipeline.results import FrameResult
from agent.pipeline.rulebook import prepare
from agent.pipeline.seeing import Seeing
from agent.pipeline.supervise import start_thread
from agent.pipeline.tally import Tally
from agent.ports import Look, ModelFacts
from agent.vision.heads.yolov8 import YoloV8Head
from agent.vision.letterbox import Letterbox, Size
from benchmarks.environment import OtherLoad, describe_machine
from benchmarks.lanes import usable_cores
from benchmarks.plain import JsonFile, Quick, print_figures, write_figures
from benchmarks.subject import default_model

_DOOR: Final = SourceName("door")
_CLASSES: Final = {number: f"class {number}" for number in range(80)}
_ANCHORS: Final = 8400
_STRONG: Final = 15
_WEAK: Final = 6
"""As a YOLO11n has them in a frame of pedestrians, above 0.25 and above 0.1."""

_PLAIN: Final[Mapping[str, object]] = {}
_TRACKED: Final[Mapping[str, object]] = {
    "tracking": {},
    "zones": {"left": {"polygon": [[0.1, 0.3], [0.9, 0.3], [0.95, 0.9], [0.5, 1]]}},
}

_FACTS: Final = ModelFacts("m", "1", "0" * 64, "detect", _CLASSES, "cpu", "cpu", "exported", "fp32")

Figures = dict[str, float]


def main(
    json_file: JsonFile = None,
    quick: Quick = False,
) -> None:
    """Measure, print a table, and write the figures where --json says."""
    environment = describe_machine()
    others = OtherLoad()
    turns, frames, rounds = (50, 200, 1) if quick else (2000, 6000, 40)
    figures = decoding(turns) | remembering(frames) | trying(frames) | lanes_beside_a_trial(rounds)
    print_figures(figures)
    environment |= {"turns": turns, "frames": frames, "rounds": rounds, "quick": quick}
    environment["others_cores"] = others.cores()
    write_figures(json_file, figures, environment)


def decoding(turns: int) -> Figures:
    """A frame's decoding with candidates told of, and without."""
    head = YoloV8Head(class_names=_CLASSES, keypoint_shape=None, output_name="output0")
    letterbox = Letterbox.fit(Size(720, 1280), Size(640, 640))
    with_floor = Thresholds(floor=0.1)
    without = replace(with_floor, floor=None)
    table = _table(np.random.default_rng(1))
    told, plain = _by_turns(
        lambda: head.decode([table], letterbox, with_floor),
        lambda: head.decode([table], letterbox, without),
        turns=turns,
    )
    differences = [one - other for one, other in zip(told, plain, strict=True)]
    return {
        "decode_us": round(median(plain) / 1e3, 2),
        "decode_added_us": round(median(differences) / 1e3, 2),
    }


def remembering(frames: int) -> Figures:
    """What the event loop does for each frame."""
    recollection, tally = Recollection(), Tally()
    took = []
    results = list(_results(frames))
    for result in results:
        began_ns = time.perf_counter_ns()
        recollection.remember(result, result.captured)
        tally.add(result.detections.fates, result.captured.monotonic_ns)
        took.append(time.perf_counter_ns() - began_ns)
    return {
        "loop_us_per_frame": round(median(took) / 1e3, 2),
        "bytes_per_frame": round(recollection.bytes / frames, 1),
    }


def trying(frames: int) -> Figures:
    """How many frames a second a trial judges by two policies, with a rule each; without tracks and with."""
    entries = _remembered(frames)
    figures: Figures = {}
    for name, camera in (("trial_frames_per_s", _PLAIN), ("tracked_trial_frames_per_s", _TRACKED)):
        replay = _trial(entries, camera)
        began_s = time.monotonic()
        replay.run(lambda: True)
        figures[name] = round(len(entries) / (time.monotonic() - began_s))
    return figures


def lanes_beside_a_trial(rounds: int) -> Figures:
    """Frames a second of one-thread lanes on all cores, while trials go on without end, and while not."""
    cv2.setNumThreads(1)
    detector = load_model(name="subject", path=default_model(), threads=1)
    if not isinstance(detector, OnnxDetector):
        raise TypeError("the subject is no detector")
    frames_per_s = {True: 0.0, False: 0.0}
    shares = []
    with _lanes(detector) as rate_hz:
        rate_hz()
        for number in range(rounds):
            for beside in (True, False) if number % 2 else (False, True):
                with _trials_without_end(beside=beside) as share:
                    frames_per_s[beside] += rate_hz()
                shares += share
    return {
        "rate_beside_trial": round(frames_per_s[True] / max(frames_per_s[False], 1e-9), 3),
        "trial_share_of_core": round(median(shares), 3),
    }


@contextmanager
def _lanes(detector: OnnxDetector) -> Iterator[Callable[[], float]]:
    """Lanes at work; what is given measures their rate for some seconds."""
    picture = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    look = Look(picture, Thresholds(floor=0.1))
    done = [0] * usable_cores()
    stop = threading.Event()

    def lane(number: int) -> None:
        while not stop.is_set():
            detector.detect([look])
            done[number] += 1

    def rate_hz(seconds: float = 1.0) -> float:
        before, began_s = sum(done), time.monotonic()
        time.sleep(seconds)
        return (sum(done) - before) / (time.monotonic() - began_s)

    ended = [
        start_thread(f"lane[{number}]", partial(lane, number), yields=True) for number in range(len(done))
    ]
    try:
        yield rate_hz
    finally:
        stop.set()
        for each in ended:
            each.result()


@contextmanager
def _trials_without_end(*, beside: bool) -> Iterator[list[float]]:
    """As on a node whose lanes never pause. In the end: the share of one core that they took."""
    stop, entries = threading.Event(), _remembered(500)
    rests = Rests(lambda: time.sleep(REST_S))

    def go_on() -> bool:
        rests.now_and_then()
        return not stop.is_set()

    shares: list[float] = []

    def work() -> None:
        began_s, computed_s = time.monotonic(), time.thread_time()
        while not stop.is_set():
            _trial(entries).run(go_on)
        shares.append((time.thread_time() - computed_s) / (time.monotonic() - began_s))

    ended = start_thread("what-if", work, yields=True) if beside else None
    try:
        yield shares
    finally:
        stop.set()
        if ended is not None:
            ended.result()


def _remembered(frames: int) -> Sequence[Entry]:
    recollection = Recollection()
    for result in _results(frames):
        recollection.remember(result, result.captured)
    return recollection.since(0)


def _trial(entries: Sequence[Entry], camera: Mapping[str, object] = _PLAIN) -> Replay:
    policy = Policy.model_validate(
        {
            "models": {"m": {"file": "m.onnx"}},
            "sources": {"door": {"kind": "synthetic", "model": "m", **camera}},
            "rules": {"some": {"when": 'count("class 1", source="door") >= 2', "for_s": 1}},
        }
    )
    book = prepare(policy, compiler=CelRuleCompiler()).book
    stances = [
        Stance({_DOOR: Thresholds(confidence=confidence)}, Seeing(policy).see, book)
        for confidence in (0.25, 0.4)
    ]
    return Replay(stances, entries, entries[-1].now)


def _results(frames: int) -> Iterator[FrameResult]:
    """Ten a second."""
    found = _found()
    for number, detections in zip(range(frames), cycle(found)):
        at_ns = number * 100_000_000
        yield FrameResult(
            source=_DOOR,
            number=number,
            width_px=1280,
            height_px=720,
            captured=Stamp(1_700_000_000_000_000_000 + at_ns, at_ns),
            detections=detections,
            model=_FACTS,
            lane=0,
            timing=InferenceTiming(0, 0, 0, 0),
        )


def _found() -> Sequence[Detections]:
    head = YoloV8Head(class_names=_CLASSES, keypoint_shape=None, output_name="output0")
    letterbox = Letterbox.fit(Size(720, 1280), Size(640, 640))
    rng = np.random.default_rng(7)
    return [head.decode([_table(rng)], letterbox, Thresholds(floor=0.1)) for _ in range(20)]


def _table(rng: np.random.Generator) -> NDArray[np.float32]:
    """A YOLOv8 output: a few groups of boxes about the same objects, and very little elsewhere."""
    table = np.zeros((4 + len(_CLASSES), _ANCHORS), np.float32)
    table[4:] = rng.random((len(_CLASSES), _ANCHORS), np.float32) * 0.05
    anchors = rng.permutation(_ANCHORS)[: _STRONG + _WEAK]
    objects = rng.integers(0, 3, len(anchors))
    confidence = np.r_[rng.uniform(0.3, 0.95, _STRONG), rng.uniform(0.1, 0.24, _WEAK)]
    table[4 + objects, anchors] = confidence
    table[0, anchors] = 100 + 150 * objects + rng.uniform(-5, 5, len(anchors))
    table[1, anchors] = 300 + rng.uniform(-5, 5, len(anchors))
    table[2:4, anchors] = 80
    return table


def _by_turns(one: Callable[[], Any], other: Callable[[], Any], *, turns: int) -> tuple[list[int], list[int]]:
    """Nanoseconds of each call, the first by turns before and after the second."""
    took: tuple[list[int], list[int]] = ([], [])
    for turn in range(turns):
        for which in (0, 1) if turn % 2 else (1, 0):
            began_ns = time.perf_counter_ns()
            (one, other)[which]()
            took[which].append(time.perf_counter_ns() - began_ns)
    return took


if __name__ == "__main__":
    typer.run(main)
