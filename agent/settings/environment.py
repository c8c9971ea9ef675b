"""Settings from NANOFLEET_… variables: `__` parts the levels, e.g. NANOFLEET_BROKER__HOST."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from agent.contract.problems import KeyPath, Problem
from agent.contract.schema_walk import Schema, locate, resolve
from agent.contract.words import nearest
from agent.settings.model import Settings

PREFIX: Final = "NANOFLEET_"
_PARTING: Final = "__"
_OTHERS: Final = frozenset({"NANOFLEET_TESTDATA"})
"""Variables of this name that are no settings: where the tests find their pictures."""


class _Layer(Settings, BaseSettings):
    """Tells pydantic-settings the shape; it is never made."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=_PARTING)


class Environment:
    """The NANOFLEET_… variables among `environ`; empty ones count as not set."""

    def __init__(self, environ: Mapping[str, str], *, schema: Schema) -> None:
        self._schema = schema
        self._values = {
            name: value
            for name, value in environ.items()
            if name.upper().startswith(PREFIX) and name not in _OTHERS and value
        }
        self.problems = list(self._find_problems())

    def values(self) -> dict[str, Any]:
        """What they say, nested as in the file; without those that have a problem."""
        wrong = {problem.file for problem in self.problems}
        source = EnvSettingsSource(_Layer)
        source.env_vars = {
            name.lower(): self._as_json(name, value)
            for name, value in self._values.items()
            if f"${name}" not in wrong
        }
        return source()

    def variable_for(self, path: KeyPath) -> str | None:
        """The variable which says what stands at `path`, if one does."""
        for name in self._values:
            told = _path_of(name)
            if path[: len(told)] == told:
                return name
        return None

    def _as_json(self, name: str, value: str) -> str:
        """A list may be given with commas instead of as JSON."""
        if self._type_of(name) == "array" and not value.lstrip().startswith("["):
            return json.dumps([part.strip() for part in value.split(",")])
        return value

    def _find_problems(self) -> Iterator[Problem]:
        for name, value in self._values.items():
            path = _path_of(name)
            kind = self._type_of(name)
            if kind is None:
                yield Problem(
                    message=f"there is no setting {'.'.join(map(str, path))!r}",
                    hint=self._suggest(name),
                    file=f"${name}",
                )
            elif kind in {"array", "object"} and not _is_json(self._as_json(name, value), kind):
                example = '["one", "two"], or one,two' if kind == "array" else '{"key": "value"}'
                yield Problem(
                    message=f"this is no JSON {kind}", path=path, hint=f"such as {example}", file=f"${name}"
                )

    def _type_of(self, name: str) -> str | None:
        schema = locate(self._schema, _path_of(name)).schema
        return None if schema is None else str(schema.get("type", "string"))

    def _suggest(self, name: str) -> str:
        *outer, last = _path_of(name)
        siblings = locate(self._schema, [*outer, last]).keys if outer else ()
        if outer and (close := nearest(str(last), siblings)):
            return f"did you mean {_variable((*outer, close))}?"
        known = [_variable(path) for path in _leaves(self._schema, self._schema)]
        wanted = nearest(name[len(PREFIX) :], [each[len(PREFIX) :].lower() for each in known])
        return (
            f"did you mean {PREFIX}{wanted.upper()}?"
            if wanted
            else "docs/reference/settings.md lists them all"
        )


def _path_of(name: str) -> KeyPath:
    return tuple(name[len(PREFIX) :].lower().split(_PARTING))


def _variable(path: KeyPath) -> str:
    return PREFIX + _PARTING.join(map(str, path)).upper()


def _leaves(schema: Schema, root: Schema) -> Iterator[KeyPath]:
    for key, inner in schema.get("properties", {}).items():
        resolved = resolve(inner, root)
        if "properties" in resolved:
            yield from ((key, *rest) for rest in _leaves(resolved, root))
        else:
            yield (key,)


def _is_json(text: str, kind: str) -> bool:
    try:
        return isinstance(json.loads(text), list if kind == "array" else dict)
    except ValueError:
        return False
