"""What the README and the documents tell a person to type exists: make's targets, commands, options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from agent.cli import app

REPOSITORY: Final = Path(__file__).parent.parent
DOCUMENTS: Final = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

_SHELL_BLOCK: Final = re.compile(r"^```(?:sh|shell|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def typed_commands(document: Path) -> Iterator[list[str]]:
    """The words of each command in a document's shell blocks, prompts and continuations taken away."""
    for block in _SHELL_BLOCK.findall(document.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;|\|", line.removeprefix("$ ")):
                if words := shlex.split(part, comments=True):
                    yield words


def commands_of(program: str) -> list[tuple[str, list[str]]]:
    return [
        (document.relative_to(REPOSITORY).as_posix(), words)
        for document in DOCUMENTS
        for words in typed_commands(document)
        if Path(words[0]).name == program
    ]


def options_and_rest(words: list[str]) -> tuple[set[str], list[str]]:
    """The options of the command that words name, and the words left over. Raises: LookupError."""
    command = typer.main.get_command(app)
    rest = words[1:]
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            raise LookupError(f"{command.name} has no command {rest[0]}")
        command, rest = command.commands[rest[0]], rest[1:]
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)}, rest


def test_readme_names_the_test_command() -> None:
    assert ("README.md", ["make", "test"]) in commands_of("make")


@pytest.mark.parametrize(("document", "words"), commands_of("make"))
def test_documented_make_targets_exist(document: str, words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    asked = {word for word in words[1:] if "=" not in word and not word.startswith("-")}
    assert asked <= targets, f"{document}: {shlex.join(words)}"


@pytest.mark.parametrize(("document", "words"), commands_of("nanofleet"))
def test_documented_commands_and_options_exist(document: str, words: list[str]) -> None:
    known, rest = options_and_rest(words)
    asked = {word.partition("=")[0] for word in rest if word.startswith("--")} - {"--help"}
    assert asked <= known, f"{document}: {shlex.join(words)}"


@pytest.mark.parametrize(
    "words", [words for document, words in commands_of("nanofleet") if document == "README.md"]
)
def test_readme_commands_succeed_in_a_fresh_checkout(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
