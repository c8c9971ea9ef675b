"""Messages that were recorded with mosquitto_sub, read again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.contract.recorded import Readings, read_recording
from agent.domain.errors import Code, RefusedError
from agent.domain.scene import Scene

HEAD = {
    "v": 1,
    "epoch": "01JC",
    "seq": 1,
    "site": "plant",
    "node": "n1",
    "clock": "synced",
    "boot": "b",
    "time": "2023-11-14T22:13:20.500Z",
    "monotonic_ms": 8000,
}
DETECTIONS: dict[str, Any] = {
    **HEAD,
    "source": "door",
    "objects": [
        {
            "class": "person",
            "class_id": 0,
            "confidence": 0.9,
            "box": [0, 0.1, 1, 1],
            "track": 7,
            "zones": ["hall"],
        }
    ],
}
TELEMETRY: dict[str, Any] = {
    **HEAD,
    "source": "motor",
    "readings": [
        {"time": "2023-11-14T22:13:20.000Z", "name": "x", "value": 1.5, "unit": "g", "quality": "good"}
    ],
    "scores": [
        {
            "model": "m",
            "from": "2023-11-14T22:13:19.000Z",
            "to": "2023-11-14T22:13:20.000Z",
            "score": 0.3,
            "threshold": 0.8,
        }
    ],
}


def envelope(payload: Any) -> str:
    return json.dumps({"tst": "2023-11-14T22:13:21+0000", "topic": "edge/v1/plant/n1/x", "payload": payload})


@pytest.mark.parametrize(
    "printed",
    [
        json.dumps,
        lambda said: f"edge/v1/plant/n1/detections/door {json.dumps(said)}",
        lambda said: envelope(json.dumps(said)),
        envelope,
    ],
    ids=["%p", "%t %p", "%j", "%J"],
)
def test_every_way_of_printing_is_read(printed: Any) -> None:
    (seen,) = read_recording([printed(DETECTIONS).encode()]).messages
    assert seen.node == "plant/n1"
    assert isinstance(seen.said, Scene)
    assert (seen.said.source, seen.said.at.monotonic_ns) == ("door", 8_000_000_000)
    assert seen.said.at.wall_ns == 1_700_000_000_500_000_000
    (one,) = seen.said.objects
    assert (one.class_name, one.confidence, one.track, list(one.zones)) == ("person", 0.9, 7, ["hall"])


def test_telemetry_keeps_the_moments_of_its_readings() -> None:
    (heard,) = read_recording([json.dumps(TELEMETRY).encode()]).messages
    assert isinstance(heard.said, Readings)
    (reading,) = heard.said.readings
    assert (reading.name, reading.value, reading.at.monotonic_ns) == ("x", 1.5, 7_500_000_000)
    (score,) = heard.said.scores
    assert (score.score, score.threshold, score.last.monotonic_ns) == (0.3, 0.8, 7_500_000_000)


def test_what_is_neither_is_left_out() -> None:
    lines = [
        "",
        "edge/v1/plant/n1/alarms/crowd ",
        json.dumps({**HEAD, "rule": "crowd"}),
        json.dumps({"v": 1, "state": "online"}),
        envelope("ÿØÿà"),
        "edge/v1/plant/n1/snapshots/door binary",
    ]
    recording = read_recording(line.encode() for line in lines)
    assert (recording.messages, recording.skipped) == ((), 0)


PICTURE = b"edge/v1/plant/n1/snapshots/door \xff\xd8\xff\xe0\x00\x10JFIF\n\x80\x81\nabc {\n{garbage"


@pytest.mark.parametrize(
    ("broken", "lines"),
    [
        (PICTURE, 4),
        (b'{"v": 1, "source"', 1),
        (b"\xff\xfe", 1),
        (b"{" + b" " * (2 << 20) + b"}", 1),
        (b'{"v":1,"source":"a","objects":' + b"[" * 100_000, 1),
        (b'{"n": ' + b"1" * 10_000 + b"}", 1),
    ],
)
def test_a_line_that_is_no_json_is_skipped_and_counted(broken: bytes, lines: int) -> None:
    good = json.dumps(DETECTIONS).encode()
    recording = read_recording([good, *broken.split(b"\n"), good])
    assert len(recording.messages) == 2
    assert recording.skipped == lines
    with pytest.raises(RefusedError, match=r"line 1 cannot be read: .* nor can any other") as refused:
        read_recording([broken.split(b"\n")[0]])
    assert refused.value.code == Code.JSON


@pytest.mark.parametrize(
    "broken",
    [
        {**DETECTIONS, "objects": [{"class": "person"}]},
        {**DETECTIONS, "time": "yesterday"},
        {key: each for key, each in DETECTIONS.items() if key != "monotonic_ms"},
        *(
            {**DETECTIONS, "monotonic_ms": each}
            for each in (-1, 1 << 60, 10**300, 1.5e300, float("inf"), "8")
        ),
        *(
            {**DETECTIONS, "time": each}
            for each in (
                "0001-01-01T00:00:00Z",
                "0001-01-01T00:00:00+14:00",
                "9999-12-31T23:59:59Z",
                "1969-12-31T23:59:59Z",
                "2026-01-01T00:00:00",
            )
        ),
        {**TELEMETRY, "readings": [{**TELEMETRY["readings"][0], "time": "9999-12-31T23:59:59Z"}]},
        {**TELEMETRY, "readings": [{**TELEMETRY["readings"][0], "value": 10**400}]},
    ],
)
def test_a_message_as_no_node_tells_it_is_named(broken: Any) -> None:
    with pytest.raises(RefusedError, match="line 2 cannot be read") as refused:
        read_recording([json.dumps(DETECTIONS).encode(), json.dumps(broken).encode()])
    assert refused.value.code == Code.SCHEMA
