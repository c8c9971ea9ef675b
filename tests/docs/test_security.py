"""docs/security.md: the tests that it names are there, and what it says to type works."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

from agent.cli.wall_clock import WallClock
from agent.settings import load_settings
from agent.trust import control_verifier

REPOSITORY: Final = Path(__file__).parents[2]
PAGE: Final = (REPOSITORY / "docs/security.md").read_text(encoding="utf-8")
NAMED: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_is_in_the_tree(file: str, name: str) -> None:
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in found


def test_every_name_of_a_test_is_a_whole_one() -> None:
    assert len(NAMED) > 40
    assert PAGE.count("::test_") == len(re.findall(r"`tests/[\w/]+\.py::\w+`", PAGE))


@pytest.mark.parametrize("title", ["What a policy can never do", "Signed control", "Hostile input"])
def test_every_promise_of_a_table_names_its_test(title: str) -> None:
    rows = [line for line in section(title).splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 10
    assert [row for row in rows if "::test_" not in row] == []


def test_what_it_says_to_type_makes_what_a_node_takes(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("v: 1\nversion: 9\npolicy: {}\n")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for commands in blocks("sh"):
        done = subprocess.run(
            ["sh", "-e", "-c", commands],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    (text,) = blocks("toml")
    assert tomllib.loads(text)["control"]["require_signed"] is True
    settings_file = tmp_path / "agent.toml"
    head = f'site = "plant"\nnode = "nano-42"\nstate_dir = "{tmp_path}"\n[broker]\nhost = "b"\n'
    settings_file.write_text(head + text.replace("/etc/nanofleet/keys", str(tmp_path)))
    verifier = control_verifier(load_settings(settings_file, environ={}), clock=WallClock())
    policy = verifier.open((tmp_path / "policy.jws").read_bytes(), kind="policy")
    command = verifier.open((tmp_path / "ping.jws").read_bytes(), kind="command")
    assert (json.loads(policy)["issuer"], json.loads(command)["op"]) == ("operations", "ping")
