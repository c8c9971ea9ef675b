"""The reference of commands names what there is, and each example is one."""

import re
import shlex
from pathlib import Path

import pytest

from agent.contract.command_args import ARGS
from agent.contract.commands import read_command
from agent.contract.topics import Topics
from agent.pipeline.commands.operations import OPERATIONS

TEXT = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text(encoding="utf-8")
_HEADED = re.compile(r"^## ([a-z-]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = {found[1]: found[2] for found in _HEADED.finditer(TEXT)}
TOPICS = Topics("plant", "nano-42")


def test_every_operation_has_a_section() -> None:
    assert SECTIONS.keys() == ARGS.keys()


@pytest.mark.parametrize("op", ARGS)
def test_every_argument_is_told_with_its_default(op: str) -> None:
    rows = {
        name: row[1]
        for row in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", SECTIONS[op], re.MULTILINE)
        for name in re.findall(r"`([a-z_]+)`", row[0])
    }
    fields = {field.alias or name: field for name, field in ARGS[op].model_fields.items()}
    assert rows.keys() == fields.keys()
    for name, field in fields.items():
        told = {"**required**": ...}.get(rows[name], rows[name])
        if field.is_required():
            assert told is ..., name
        else:
            wanted = "none" if field.default is None else f"{field.default:g}"
            assert told == wanted, name


@pytest.mark.parametrize("op", ARGS)
def test_every_example_is_a_command(op: str) -> None:
    (example,) = re.findall(r"```sh\n(.*?)```", SECTIONS[op], re.DOTALL)
    words = shlex.split(example.replace("\\\n", " "))
    assert words[:3] == ["mosquitto_pub", "-q", "1"]
    topic = TOPICS.command(words[words.index("-t") + 1])
    assert topic is not None
    command = read_command(words[words.index("-m") + 1].encode(), topic)
    assert command.op == op


def test_what_takes_longer_and_what_changes_nothing_is_told() -> None:
    (long,) = re.findall(r"Only of what takes longer: (.*?)\. \|", TEXT)
    assert set(re.findall(r"`([a-z-]+)`", long)) == {op for op, each in OPERATIONS.items() if each.is_long}
    (repeatable,) = re.findall(r"\(`E_SPACE`\)\. (.*?) change nothing", TEXT)
    assert set(re.findall(r"`([a-z-]+)`", repeatable)) == {
        op for op, each in OPERATIONS.items() if each.is_repeatable
    }
