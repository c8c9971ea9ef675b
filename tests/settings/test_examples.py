"""The commented examples and the profiles: complete, equal to the defaults, and valid."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel

from agent.contract.documents import Document
from agent.contract.policy import PolicyDocument
from agent.contract.policy_text import parse_policy
from agent.contract.sources import SourcePart
from agent.contract.yaml_text import read_yaml
from agent.settings import Settings, load_policy, load_settings

CONFIG: Final = Path(__file__).parent.parent.parent / "config"
SWITCHED_OFF: Final = re.compile(r"^(\s*)#(?=[\w\[])", re.MULTILINE)
"""A key or table behind '#'; prose has a space after it."""


def settings_from(text: str) -> Settings:
    return Settings.model_validate(tomllib.loads(text))


def policy_from(text: str) -> PolicyDocument:
    document: Document = read_yaml(text.encode())
    return parse_policy(document)


def models_in(value: object) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from models_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from models_in(inner)


def is_plain(value: object) -> bool:
    """A value that is no object of its own, and so has a default to be compared with."""
    return not isinstance(value, BaseModel) and not (isinstance(value, Mapping) and value)


def departures(document: BaseModel) -> Iterator[str]:
    """The keys that are given otherwise than by their default, though they have one."""
    for model in models_in(document):
        for name in model.model_fields_set:
            field = type(model).model_fields[name]
            value: Any = getattr(model, name)
            if (
                not field.is_required()
                and is_plain(value)
                and value != field.get_default(call_default_factory=True)
            ):
                yield f"{type(model).__name__}.{name}"


def owner_of(name: str, kind: type[BaseModel]) -> type[BaseModel]:
    """The most general model that has this key."""
    bases = (base for base in reversed(kind.__mro__) if issubclass(base, BaseModel))
    return next(base for base in bases if name in base.model_fields)


def missing_keys(document: BaseModel) -> set[str]:
    """The keys of its objects that it never gives; what kinds of source share counts once."""
    given: dict[str, set[str]] = {}
    wanted: dict[str, set[str]] = {}
    for model in models_in(document):
        for name in type(model).model_fields:
            owner = owner_of(name, type(model)).__name__
            wanted.setdefault(owner, set()).add(name)
            if name in model.model_fields_set:
                given.setdefault(owner, set()).add(name)
    return {f"{owner}.{name}" for owner, names in wanted.items() for name in names - given.get(owner, set())}


@pytest.fixture(scope="module")
def settings_text() -> str:
    return (CONFIG / "agent.example.toml").read_text()


@pytest.fixture(scope="module")
def policy_text() -> str:
    return (CONFIG / "policy.example.yaml").read_text()


def test_settings_that_are_switched_on_are_the_defaults(settings_text: str) -> None:
    shown = settings_from(settings_text)
    least = {"site": shown.site, "node": shown.node, "broker": {"host": shown.broker.host}}
    assert shown == Settings.model_validate(least)
    assert list(departures(shown)) == []


def test_settings_example_names_every_key(settings_text: str) -> None:
    whole = settings_from(SWITCHED_OFF.sub(r"\1", settings_text))
    assert missing_keys(whole) == set()


def test_policy_that_is_switched_on_is_the_defaults(policy_text: str) -> None:
    assert list(departures(policy_from(policy_text))) == []


def test_policy_example_names_every_key_and_every_kind_of_source(policy_text: str) -> None:
    whole = policy_from(SWITCHED_OFF.sub(r"\1", policy_text))
    assert missing_keys(whole) == set()
    kinds = {type(source) for source in whole.policy.sources.values()}
    assert set(concrete_below(SourcePart)) == kinds


def concrete_below(kind: type[SourcePart]) -> Iterator[type[SourcePart]]:
    for below in kind.__subclasses__():
        if "kind" in below.model_fields:
            yield below
        yield from concrete_below(below)


def test_the_two_examples_fit_together(settings_text: str, policy_text: str, tmp_path: Path) -> None:
    settings_file, policy_file = tmp_path / "agent.toml", tmp_path / "policy.yaml"
    settings_file.write_text(SWITCHED_OFF.sub(r"\1", settings_text))
    policy_file.write_text(SWITCHED_OFF.sub(r"\1", policy_text))
    environ = {"NANOFLEET_ALLOWED_HOSTS": "10.1.20.0/24"}
    settings = load_settings(settings_file, environ=environ, look_at_files=False)
    assert load_policy(policy_file, settings, look_at_files=False).version == 1


@pytest.mark.parametrize("profile", sorted(path.name for path in (CONFIG / "profiles").iterdir()))
def test_a_profile_is_valid(profile: str) -> None:
    folder = CONFIG / "profiles" / profile
    settings = load_settings(folder / "agent.toml", environ={}, look_at_files=False)
    document = load_policy(folder / "policy.yaml", settings, look_at_files=False)
    assert any(source.model for source in document.policy.sources.values())
    assert settings.broker.tls
