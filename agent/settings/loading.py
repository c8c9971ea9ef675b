"""Loading Settings and the first policy: everything that is wrong is told at once, with its place."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from agent.contract.documents import MAX_BYTES
from agent.contract.explain import explain
from agent.contract.policy import PolicyDocument
from agent.contract.policy_text import parse_policy, read_policy_text, valid_parts
from agent.contract.problems import FaultyDocumentError, Problem
from agent.contract.schema_walk import Schema
from agent.contract.schemas import schema_of
from agent.domain.errors import Code, ConfigError
from agent.settings.environment import Environment
from agent.settings.files import file_problems
from agent.settings.model import Settings
from agent.settings.paths import Whereabouts
from agent.settings.permits import breaches
from agent.settings.toml_text import TomlDocument, read_toml

T = TypeVar("T")


class InvalidConfigError(ConfigError):
    """Settings or a policy that this node cannot run by: all `problems` at once, with file and line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__("\n".join(map(str, problems)), code=first.code, path=first.pointer)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return self.message


def load_settings(
    path: Path | None, *, environ: Mapping[str, str] | None = None, look_at_files: bool = True
) -> Settings:
    """Settings from a TOML file (None: there is none) and, above it, NANOFLEET_… variables.

    Relative paths are meant from the file's folder. Without `look_at_files` nothing else than the file is
    read: for settings of another machine. Blocking.

    Raises:
        InvalidConfigError: with every problem of file, environment, and the files that they name.
    """
    environ = os.environ if environ is None else environ
    schema = settings_schema()
    document = (
        TomlDocument({}, {}) if path is None else _read(path, lambda body: read_toml(body, file=str(path)))
    )
    environment = Environment(environ, schema=schema)
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    whereabouts = Whereabouts(
        folder=(path.parent if path else Path()).absolute(),
        credentials=Path(credentials) if credentials else None,
    )

    def at_its_place(problem: Problem) -> Problem:
        if variable := environment.variable_for(problem.path):
            return replace(problem, file=f"${variable}", line=None)
        return replace(problem, file=str(path) if path else None, line=document.line_of(problem.path))

    problems = list(environment.problems)
    try:
        settings = Settings.model_validate(_merged(document.data, environment.values()), context=whereabouts)
    except ValidationError as error:
        told = explain(error, schema=schema, line_of=document.line_of, file=None)
        raise InvalidConfigError(_sorted([*problems, *map(at_its_place, told)])) from error
    if look_at_files:
        problems += map(at_its_place, file_problems(settings))
    if problems:
        raise InvalidConfigError(_sorted(problems))
    return settings


def load_policy(path: Path, settings: Settings | None, *, look_at_files: bool = True) -> PolicyDocument:
    """The policy document in `path`, if this node may run it; without `settings`, if any could.

    Blocking. Without `look_at_files` what it names below `media_root` need not be there.

    Raises:
        InvalidConfigError: with every problem of the document, and each breach of what Settings permit.
    """
    document = _read(path, lambda body: read_policy_text(body, file=str(path)))
    problems: list[Problem] = []
    parsed = None
    try:
        parsed = parse_policy(document)
        policy = parsed.policy
    except FaultyDocumentError as error:
        problems += error.problems
        policy = valid_parts(document)
    for breach in breaches(policy, settings, look_at_files=look_at_files) if settings else ():
        problem = breach.below("policy")
        problems.append(replace(problem, file=str(path), line=document.line_of(problem.path)))
    if problems or parsed is None:
        raise InvalidConfigError(_sorted(problems))
    return parsed


@cache
def settings_schema() -> Schema:
    """The JSON Schema of Settings."""
    return schema_of(Settings)


def _read(path: Path, parse: Callable[[bytes], T]) -> T:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = Problem(
            message=f"the file cannot be read: {error.strerror}", file=str(path), code=Code.FILE
        )
        raise InvalidConfigError([problem]) from error
    try:
        return parse(body)
    except FaultyDocumentError as error:
        raise InvalidConfigError(error.problems) from error


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[key] = _merged(under, value)
        else:
            merged[key] = value
    return merged


def _sorted(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda each: (each.file or "", each.line or 0, each.pointer))
