"""The examples in the docstrings of the pure rings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import Final

import pytest

import agent.contract
import agent.domain
import agent.settings

MODULES: Final = [
    found.name
    for ring in (agent.contract, agent.domain, agent.settings)
    for found in pkgutil.iter_modules(ring.__path__, f"{ring.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_examples_are_found_at_all() -> None:
    assert sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES) > 10
