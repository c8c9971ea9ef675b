"""docs/explain.md holds what the agent says and does."""

import json
import re
from pathlib import Path

from annotated_types import Le

from agent.contract.command_args import ARGS, WhatIfArgs
from agent.domain.fates import FLOOR, Fates
from agent.pipeline.recollection import MAX_BYTES, MINUTES
from agent.pipeline.what_if import BUDGET_S
from agent.vision.heads.sifting import MOST_WEAK

TEXT = (Path(__file__).parents[2] / "docs/explain.md").read_text(encoding="utf-8")


def test_every_fate_is_explained_in_its_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert tuple(rows[: len(Fates._fields)]) == Fates._fields


def test_answers_are_json_and_add_up() -> None:
    explained, tried = (json.loads(each) for each in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL))
    minute = explained["minute"]
    assert Fates(**minute["fates"]).candidates == minute["candidates"]
    assert tried.keys() == {"from", "to", "cameras", "rules", "ignored", "notes"}


def test_commands_are_such_as_the_node_takes() -> None:
    for body in re.findall(r"-m '(\{.*?\})'", TEXT, re.DOTALL):
        command = json.loads(body)
        ARGS[command["op"]].model_validate(command["args"])


def test_no_more_minutes_can_be_asked_for_than_are_kept() -> None:
    (most,) = (each.le for each in WhatIfArgs.model_fields["minutes"].metadata if isinstance(each, Le))
    assert most == MINUTES


def test_the_speed_of_a_trial_and_what_lanes_notice_are_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert {"trial_frames_per_s", "tracked_trial_frames_per_s", "rate_beside_trial"} <= set(rows)


def test_numbers_are_those_of_the_code() -> None:
    assert (FLOOR, MOST_WEAK, MINUTES, MAX_BYTES, BUDGET_S) == (0.1, 64, 10.0, 16 * 2**20, 30.0)
    for words in ("confidence of 0.1 or more", "64 strongest", "ten minutes, in at most 16 MB", "After 30 s"):
        assert words in TEXT
