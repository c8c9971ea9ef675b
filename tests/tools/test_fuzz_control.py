"""The fuzzer of control: it makes what it says, finds what is broken, and a node stands a short run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

import pytest

from agent.contract.command_args import ARGS
from agent.contract.json_text import read_json
from agent.contract.policy import PolicyDocument
from agent.contract.policy_text import parse_policy
from agent.domain.errors import NanofleetError
from agent.policies import read_policy
from tools.control_fuzzing.fuzzing import BrokenPromiseError, Fuzzer
from tools.control_fuzzing.mutations import mutated
from tools.control_fuzzing.node import ControlledNode
from tools.control_fuzzing.seeds import SMALL, seeds
from tools.fuzz_control import key_pair, node_settings

REPOSITORY: Final = Path(__file__).parents[2]


def test_there_is_a_seed_for_whatever_a_node_takes() -> None:
    found = seeds()
    assert {seed.kind for seed in found} == {"policy", "command", "ack"}
    assert {seed.document["op"] for seed in found if seed.kind == "command"} == set(ARGS)
    for seed in found:
        if seed.kind == "policy":
            parse_policy(read_json(json.dumps(seed.document).encode()))


def test_mutations_are_the_same_for_the_same_seed_and_of_every_kind() -> None:
    assert mutated(SMALL, Random(5)) == mutated(SMALL, Random(5))
    outcomes: Counter[str] = Counter()
    random = Random(1)
    for _ in range(400):
        try:
            read_policy(mutated(SMALL, random))
        except NanofleetError as error:
            outcomes[error.code] += 1
        else:
            outcomes["valid"] += 1
    assert {"valid", "E_SCHEMA", "E_JSON", "E_DEPTH", "E_SIZE", "E_VERSION"} <= set(outcomes)


@pytest.mark.parametrize(
    ("said", "bounds"),
    [
        ([], "--seconds 120"),
        (["SECONDS=7"], "--seconds 7"),
        (["ARGS=--seed 3"], "--seconds 120 --seed 3"),
        (["ARGS=--cases 5 --seed 3"], "--cases 5 --seed 3"),
    ],
)
def test_make_says_how_long_unless_one_does(said: list[str], bounds: str) -> None:
    # Only shown: what it would need is made elsewhere.
    words = ["make", "--dry-run", "--no-print-directory", "fuzz", *said]
    shown = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=True)
    assert " ".join(shown.stdout.splitlines()[-1].split()).endswith(f"tools.fuzz_control {bounds}")


@pytest.mark.slow
def test_a_node_stands_a_short_run(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "tools.fuzz_control", "--cases", "250", "--seed", "7", "--json", str(figures)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(figures.read_text())
    assert (told["cases"], told["seed"], told["broken"]) == (250, 7, None)
    assert sum(told["outcomes"].values()) == 250
    assert len(told["outcomes"]) > 12


async def test_a_node_that_does_not_foresee_something_is_found_out(tmp_path: Path) -> None:
    key, public_key = key_pair()
    node = ControlledNode(settings=node_settings(tmp_path), public_key=public_key, read=_careless)
    fuzzer = Fuzzer(node=node, random=Random(3), key=key)
    async with node.running():
        with pytest.raises(BrokenPromiseError, match="nobody foresaw it"):
            await cases(fuzzer, 100)


async def cases(fuzzer: Fuzzer, count: int) -> None:
    for _ in range(count):
        await fuzzer.one()


def _careless(payload: bytes) -> PolicyDocument:
    """As somebody would write it."""
    return PolicyDocument.model_validate(json.loads(payload))
