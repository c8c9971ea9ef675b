"""What is known against the packages of a release, by pip-audit, and whether that stops it.

PyPI's advisories carry no severity, and pip-audit hands none on. So each finding counts as critical, whether
there is a fix or not: it stops a release until a person has named it with a reason.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tools.release.locks import Pin
from tools.release.programs import TOOLS, ReleaseError, last_words, run

Result = Literal["clean", "accepted", "found", "unknown"]
_TIMEOUT_S: Final = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """One advisory on one package."""

    package: str
    version: str
    id: str
    aliases: list[str]
    fixed_in: list[str]
    summary: str
    accepted_because: str | None = None

    @property
    def names(self) -> set[str]:
        """By which it can be named, in lower case."""
        return {name.lower() for name in (self.id, *self.aliases)}

    def __str__(self) -> str:
        names = ", ".join([self.id, *self.aliases])
        cure = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "not fixed yet"
        return f"{self.package} {self.version}: {names} ({cure}): {self.summary}"


@dataclass(frozen=True, slots=True)
class Audit:
    """What a source of advisories said.

    `result` is one of:

    clean     nothing is known
    accepted  whatever is known was named by a person, with a reason
    found     something is known that nobody named
    unknown   the source did not answer for every package: `reason` says why
    """

    result: Result
    source: str
    packages: int
    findings: list[Finding] = field(default_factory=list)
    reason: str | None = None
    unused: list[str] = field(default_factory=list)
    """Accepted, but found nowhere, though every package was answered for."""

    def as_document(self) -> dict[str, Any]:
        """As written to audit.json."""
        return asdict(self)


def audit(
    pins: Iterable[Pin], *, source: str, accepted: Mapping[str, str], program: Path = TOOLS / "pip-audit"
) -> Audit:
    """Ask `source` about every pin: `pypi`, `osv`, or the address of a service that answers as OSV does.

    `accepted` names advisories (by any of an advisory's names, in any case) with the reason for each.
    """
    asked = sorted(set(pins), key=lambda pin: (pin.name, pin.version))
    try:
        answers = _ask(asked, source=source, program=program)
    except _NoAnswerError as error:
        return Audit("unknown", source, len(asked), reason=str(error))
    reasons = {name.lower(): reason for name, reason in accepted.items()}
    findings = [_accept(finding, reasons) for answer in answers for finding in _findings(answer)]
    named = {name for finding in findings for name in finding.names}
    unanswered = sorted(answer["name"] for answer in answers if "skip_reason" in answer)
    unanswered += sorted({pin.name for pin in asked} - {answer["name"] for answer in answers})
    return Audit(
        _result(findings, unanswered=bool(unanswered)),
        source,
        len(asked),
        findings=findings,
        reason=_unanswered(unanswered, of=len(asked)) if unanswered else None,
        unused=[] if unanswered else sorted(name for name in accepted if name.lower() not in named),
    )


class _NoAnswerError(Exception):
    """The source, or the program that asks it, gave no answer."""


def _ask(pins: list[Pin], *, source: str, program: Path) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lock = folder / "requirements.txt"
        lock.write_text("".join(pin.as_requirement() for pin in pins), encoding="utf-8")
        command: list[str | Path] = [
            *(program, "--requirement", lock, "--require-hashes", "--disable-pip"),
            *("--format", "json", "--desc", "on", "--aliases", "on", "--progress-spinner", "off"),
            *_source(source),
            # A cache of its own: what was known yesterday is no answer.
            *("--cache-dir", folder / "cache"),
        ]
        try:
            # 1: something was found, or the source is out of reach; only the former prints a document.
            done = run(command, what="pip-audit", timeout_s=_TIMEOUT_S, accepted=(0, 1))
            document = json.loads(done.stdout or "null")
        except ReleaseError as error:
            raise _NoAnswerError(str(error)) from error
        except ValueError as error:
            raise _NoAnswerError(f"pip-audit: no document: {error}") from error
    if not document:
        raise _NoAnswerError(f"pip-audit: {last_words(done)}")
    answers: list[dict[str, Any]] = document["dependencies"]
    return answers


def _source(source: str) -> tuple[str, ...]:
    if "://" in source:
        return ("--vulnerability-service", "osv", "--osv-url", source)
    return ("--vulnerability-service", source)


def _findings(answer: dict[str, Any]) -> list[Finding]:
    return [
        Finding(
            package=answer["name"],
            version=answer["version"],
            id=one["id"],
            aliases=sorted(one["aliases"]),
            fixed_in=list(one["fix_versions"]),
            summary=one["description"].strip().split(". ")[0][:200],
        )
        for one in answer.get("vulns", [])
    ]


def _accept(finding: Finding, reasons: Mapping[str, str]) -> Finding:
    reason = next((reasons[name] for name in sorted(finding.names) if name in reasons), None)
    return Finding(**{**asdict(finding), "accepted_because": reason})


def _result(findings: list[Finding], *, unanswered: bool) -> Result:
    if any(finding.accepted_because is None for finding in findings):
        return "found"
    if unanswered:
        return "unknown"
    return "accepted" if findings else "clean"


def _unanswered(names: list[str], *, of: int) -> str:
    some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"the source says nothing of {len(names)} of {of} packages ({some})"
