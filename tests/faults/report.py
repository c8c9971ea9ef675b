"""docs/faults.md, out of the records that the tests of one commit left."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.faults.records import Record
from tests.programs import find_program

_HEAD: Final = """\
# What faults cost

Made by `make faults` from what its tests saw; no figure is written by hand. Each test runs `nanofleet run` as
a process, against a real broker over TLS, does it some harm, and then holds every sequence number that the
outbox gave against the wire and a consumer. Some faults have a long form, which lasts longer or is repeated
more often; the table says which one ran.

* **produced**: numbers that the outbox gave. **acknowledged**: different messages that the broker
  acknowledged with success. **received**: different messages that a consumer with a session of its own had.
* **lost**: neither acknowledged nor received, not waiting in the outbox, not declared on `loss`. It has to
  be 0: this is the promise.
* **lost by the broker**: acknowledged, and then not delivered, for instance because the broker was killed
  before it saved. `publish.keep_until: stored` is against that.
* **declared**: dropped by the node, and told so. **twice**: arrived more than once, which QoS 1 allows.
* **recovered**: seconds from the fault's end until messages were acknowledged again, with the back-off's
  jitter in them.
"""

CHANGED: Final = "-changed"

_COLUMNS: Final = {
    "produced": "produced",
    "acknowledged": "acknowledged",
    "received": "received",
    "waiting": "waiting",
    "lost": "lost",
    "lost_by_broker": "lost by the broker",
    "declared": "declared",
    "duplicated": "twice",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """The commit and the machine that the figures are of."""

    commit: str
    machine: str

    @classmethod
    def here(cls, repository: Path) -> Self:
        cores = len(os.sched_getaffinity(0))
        machine = (
            f"{cores} cores of {platform.machine()}, Linux {platform.release().split('-')[0]}, "
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {_mosquitto()}"
        )
        return cls(commit_of(repository), machine)


def commit_of(repository: Path) -> str:
    """The short hash of what is checked out, `CHANGED` behind it where files differ from it."""
    hash_ = _git(repository, "rev-parse", "--short=10", "HEAD")
    # The report itself is written anew by each run.
    differs = _git(repository, "status", "--porcelain", "--", ".", ":(exclude)docs/faults*")
    return f"{hash_ or 'unknown'}{CHANGED if differs else ''}"


def gather(folder: Path) -> list[Record]:
    """All records in `folder`; of a test that left both its forms, the long one."""
    chosen: dict[str, Record] = {}
    for record in sorted(map(Record.read, folder.glob("*.json")), key=lambda each: each.form == "long"):
        chosen[record.test] = record
    return [chosen[test] for test in sorted(chosen)]


def write(file: Path, records: Sequence[Record], seen: Seen) -> None:
    """The document, and its charts beside it."""
    file.write_text(render(records, seen))
    for record in records:
        for name, svg in record.charts.items():
            file.with_name(_chart_file(name)).write_text(svg)


def render(records: Sequence[Record], seen: Seen) -> str:
    """The whole document."""
    by_subject: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_subject[record.subject].append(record)
    parts = [_HEAD, f"Commit {seen.commit}, on {seen.machine}.\n"]
    failed = [record for record in records if not record.passed]
    took_s = sum(record.took_s for record in records)
    parts.append(
        f"Faults: {len(records)}; failed: {len(failed)}. One after the other they would take "
        f"{took_s / 60:.0f} minutes; `make faults` runs four at a time.\n"
    )
    for subject in sorted(by_subject):
        here = by_subject[subject]
        parts += [f"## {subject}\n", _table(here), _notes(here), _charts(here)]
    return "\n".join(part for part in parts if part)


def _table(records: Iterable[Record]) -> str:
    head = ["fault", "form", *_COLUMNS.values(), "recovered"]
    lines = [_line(head), _line(["---", "---", *["--:"] * (len(_COLUMNS) + 1)])]
    for record in records:
        what = record.what if record.passed else f"**failed**: {record.what}"
        figures = [_number(getattr(record, name)) for name in _COLUMNS]
        recovered = "" if record.recovered_s is None else f"{record.recovered_s:.1f} s"
        form = "" if record.form == "only" else record.form
        lines.append(_line([what, form, *figures, recovered]))
    return "\n".join(lines) + "\n"


def _notes(records: Iterable[Record]) -> str:
    told = [f"* {record.what}: {'; '.join(record.notes)}." for record in records if record.notes]
    return "\n".join(told) + "\n" if told else ""


def _charts(records: Iterable[Record]) -> str:
    return "".join(
        f"![{record.what}]({_chart_file(name)})\n" for record in records for name in sorted(record.charts)
    )


def _chart_file(name: str) -> str:
    return f"faults-{name}.svg"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _mosquitto() -> str:
    program = find_program("mosquitto")
    if program is None:
        return "no mosquitto"
    told = subprocess.run([program, "-h"], capture_output=True, text=True, check=False, timeout=30)
    return told.stdout.partition("\n")[0]


def _git(repository: Path, *words: str) -> str:
    told = subprocess.run(
        ["git", *words], cwd=repository, capture_output=True, text=True, check=False, timeout=30
    )
    return told.stdout.strip()
