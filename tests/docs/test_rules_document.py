"""docs/rules.md: its rules serve, and no question is missing in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from agent.adapters.cel import CelRuleCompiler
from agent.contract.calls import FUNCTIONS
from agent.contract.policy import Policy
from agent.pipeline.rulebook import prepare

DOCUMENT: Final = (Path(__file__).parent.parent.parent / "docs/rules.md").read_text(encoding="utf-8")
SQUARE: Final = {"polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]}


def test_the_rules_of_the_document_serve() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    document: dict[str, Any] = yaml.safe_load(shown)
    policy = Policy.model_validate(
        {
            "sources": {
                "hall": {"kind": "synthetic", "zones": {"machine": SQUARE}, "tracking": {}},
                "motor": {"kind": "vibration"},
            },
            "rules": document["rules"],
        }
    )
    prepared = prepare(policy, compiler=CelRuleCompiler())
    assert list(prepared.book.rules) == ["loitering", "night-visit", "bearing", "blind"]


def test_every_question_and_argument_is_in_the_table() -> None:
    rows = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", DOCUMENT, re.MULTILINE))
    assert rows.keys() == FUNCTIONS.keys()
    for name, function in FUNCTIONS.items():
        assert set(re.findall(r"(\w+)=", rows[name])) == set(function.by_name)
