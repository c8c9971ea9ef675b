"""What one fault cost: the row that a test leaves for the report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Self

from tests.faults.audit import Audit

Form = Literal["quick", "long", "only"]
"""`only`: the fault has one form."""


@dataclass(slots=True, kw_only=True)
class Record:
    """Of one test. Numbers are messages, None where the test has no such figure; `recovered_s` counts from
    the fault's end until messages were acknowledged again."""

    test: str
    subject: str
    what: str
    form: Form = "only"
    passed: bool = False
    produced: int | None = None
    acknowledged: int | None = None
    received: int | None = None
    waiting: int | None = None
    lost: int | None = None
    """Neither acknowledged nor received, not waiting, not declared: what a promise was broken for."""
    lost_by_broker: int | None = None
    """Acknowledged with success, and never received by a consumer with a session of its own."""
    declared: int | None = None
    duplicated: int | None = None
    recovered_s: float | None = None
    took_s: float = 0.0
    """The whole test."""
    notes: list[str] = field(default_factory=list)
    """Sentences, with what else was measured."""
    charts: dict[str, str] = field(default_factory=dict)
    """SVG by a name for its file."""

    def take(self, audit: Audit) -> None:
        """The figures of `audit`, added to those of earlier ones of this test."""
        for name in ("produced", "acknowledged", "received", "waiting", "declared", "duplicated"):
            setattr(self, name, (getattr(self, name) or 0) + getattr(audit, name))
        self.lost = (self.lost or 0) + audit.lost_count
        self.lost_by_broker = (self.lost_by_broker or 0) + audit.lost_by_broker_count

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def write(self, folder: Path) -> None:
        """One file, which only this test and form write."""
        folder.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in f"{self.test}-{self.form}")
        (folder / f"{name}.json").write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, file: Path) -> Self:
        return cls(**json.loads(file.read_text()))
