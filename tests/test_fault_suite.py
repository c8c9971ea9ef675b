"""What judges faults can find them, and what is written of them says what was seen."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from agent.adapters.outbox.schema import migrate
from tests.faults.audit import audit
from tests.faults.chart import two_curves
from tests.faults.consumer import Received
from tests.faults.records import Record
from tests.faults.report import Seen, gather, render, write

EPOCH = "01JD0000000000000000000000"
DOOR = "detections/door"


@pytest.fixture
def outbox_file(tmp_path: Path) -> Path:
    """It gave 0 to 9 of one stream: 2 and 3 are declared lost, 9 waits."""
    file = tmp_path / "outbox.sqlite3"
    with closing(sqlite3.connect(file)) as outbox:
        migrate(outbox)
        with outbox:
            outbox.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('epoch', ?)", [EPOCH])
            outbox.execute("INSERT INTO stream (id, name, next_seq) VALUES (1, ?, 10)", [DOOR])
            outbox.execute(
                "INSERT INTO message (key, rank, stream, seq, size, boot, synced, made_wall_ns,"
                " made_monotonic_ns, committed_ns, crc, body) VALUES (9, 0, 1, 9, 0, 1, 1, 0, 0, 0, 0, '')"
            )
            outbox.execute(
                "INSERT INTO ledger (stream, lost_epoch, first, last, count, reason, at_wall_ns)"
                " VALUES (?, ?, 2, 3, 2, 'evicted', 0)",
                [DOOR, EPOCH],
            )
    return file


def received(*numbers: int, epoch: str = EPOCH) -> list[Received]:
    head = {"site": "plant", "node": "nano-1", "epoch": epoch}
    return [Received("nano-1", DOOR, False, False, 0.0, head | {"seq": number}) for number in numbers]


def test_an_audit_accounts_for_every_number(outbox_file: Path) -> None:
    found = audit(outbox_file, received(0, 1, 4, 5, 5, 6, 7, 8))
    assert (found.lost, found.lost_by_broker) == ({}, {})
    assert (found.produced, found.received, found.waiting, found.declared) == (10, 7, 1, 2)
    assert (found.acknowledged, found.duplicated) == (7, 1)


def test_an_audit_finds_what_nobody_has(outbox_file: Path) -> None:
    assert audit(outbox_file, received(0, 1, 4, 6, 7, 8)).lost == {DOOR: [5]}
    # The same number of another generation is another message.
    others = received(5, epoch="01JD0000000000000000000001")
    assert audit(outbox_file, [*received(0, 1, 4, 6, 7, 8), *others]).lost == {DOOR: [5]}


def test_an_audit_tells_what_the_broker_lost_from_what_the_node_lost(outbox_file: Path) -> None:
    found = audit(outbox_file, received(0, 1, 4, 6), {DOOR: {0, 1, 4, 5, 6, 7}})
    assert found.lost_by_broker == {DOOR: [5, 7]}
    assert found.lost == {DOOR: [8]}


def record(**values: object) -> Record:
    made = Record(test="tests/faults/test_x.py::test_x", subject="Line", what="cut", passed=True)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_a_report_has_a_row_for_each_fault_and_names_what_failed() -> None:
    good = record(took_s=180.0, produced=1_107, lost=0, recovered_s=1.26, notes=["noticed after 5 s"])
    bad = record(test="y", subject="Broker", what="killed", passed=False, lost=3)
    text = render([good, bad], Seen("abc123", "2 cores"))
    assert "Commit abc123, on 2 cores." in text
    assert "Faults: 2; failed: 1. One after the other they would take 3 minutes" in text
    assert text.index("## Broker") < text.index("## Line")
    assert "| cut |  | 1,107 |  |  |  | 0 |  |  |  | 1.3 s |" in text
    assert "| **failed**: killed |  |  |  |  |  | 3 |" in text
    assert "* cut: noticed after 5 s." in text


def test_of_two_forms_the_long_one_is_told(tmp_path: Path) -> None:
    record(form="long", produced=2).write(tmp_path)
    record(form="quick", produced=1).write(tmp_path)
    record(test="other", produced=3).write(tmp_path)
    assert [(each.form, each.produced) for each in gather(tmp_path)] == [("only", 3), ("long", 2)]


def test_a_chart_lies_beside_the_report_and_keeps_every_peak(tmp_path: Path) -> None:
    lags = [(number / 100, 0.1) for number in range(2_000)]
    lags[777] = (7.77, 1.9)
    svg = two_curves(("waiting", [(0.0, 1_800.0), (20.0, 0.0)]), ("lag", lags), across="seconds")
    write(tmp_path / "faults.md", [record(charts={"outage": svg})], Seen("abc123", "2 cores"))
    assert "![cut](faults-outage.svg)" in (tmp_path / "faults.md").read_text()
    chart = ET.fromstring((tmp_path / "faults-outage.svg").read_text())  # noqa: S314 it is our own
    waiting, lag = (
        line.attrib["points"].split() for line in chart.iter("{http://www.w3.org/2000/svg}polyline")
    )
    assert len(waiting) == 2
    assert len(lag) <= 400
    texts = [text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")]
    assert {"1,800", "1.9"} <= set(texts)
