"""What is wrong with a policy's rules, found by compiling them as the agent would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.documents import MAX_BYTES
from agent.contract.policy_text import read_policy_text
from agent.contract.problems import FaultyDocumentError, Problem
from agent.pipeline.rulebook import prepare_what_can

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.contract.policy import Policy


def problems_of_rules(policy: Policy, file: Path) -> Iterator[Problem]:
    """Each rule that cannot serve, with its line in `file` and the column in its condition. Blocking."""
    if not policy.rules:
        return
    from agent.adapters.cel import CelRuleCompiler

    for error in prepare_what_can(policy, compiler=CelRuleCompiler())[1]:
        path = ("policy", "rules", error.name, error.key)
        condition = getattr(policy.rules[error.name], error.key)
        yield Problem(
            message=error.why,
            path=path,
            hint="" if error.at is None else _pointed(condition, error.at),
            line=_line_of(file, path),
            file=str(file),
            code=error.code,
        )


def _pointed(condition: str, at: int) -> str:
    """Where it is: the line of the condition up to there, for a person who counts no characters.

    >>> _pointed('count("x") = 1', 11)
    'column 12: here> = 1'
    """
    before = condition[:at]
    column = at - (before.rfind("\n") + 1) + 1
    line = before.count("\n") + 1
    rest = condition[at : at + 40].partition("\n")[0] or "the end"
    place = f"column {column}" if "\n" not in condition.strip() else f"line {line}, column {column}"
    return f"{place}: here> {rest}"


def _line_of(file: Path, path: tuple[str, ...]) -> int | None:
    try:
        with file.open("rb") as text:
            return read_policy_text(text.read(MAX_BYTES + 1), file=str(file)).line_of(path)
    except (OSError, FaultyDocumentError):  # it has changed since it was read
        return None
