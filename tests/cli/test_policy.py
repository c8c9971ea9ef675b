"""`nanofleet policy` at a node, from a shell: what the unit alone may read is not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner, Result

from agent.adapters.policy_inbox import FilePolicyInbox
from agent.adapters.policy_store import FilePolicyStore
from agent.cli import app
from agent.contract.policy import Policy, PolicyDocument
from agent.contract.reported import PolicyAttempt, policy_sha256
from agent.pipeline.control.journal import Journal
from agent.ports import KeptPolicy

SETTINGS: Final = """\
site = "plant"
node = "nano-1"
state_dir = "state"
[broker]
host = "broker"
ca_file = "ca.pem"
cert_file = "node.pem"
key_file = "node.key"
[secrets.cameras]
password_file = "cameras.password"
username = "viewer"
hosts = ["192.0.2.0/24"]
"""
"""None of the files is there: systemd's LoadCredential has them for the unit."""


def policy(folder: Path, *words: object) -> Result:
    return CliRunner().invoke(app, ["policy", *map(str, words), "--settings", str(folder / "agent.toml")])


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Version 7 is in force."""
    (tmp_path / "agent.toml").write_text(SETTINGS)
    document = PolicyDocument(version=7, policy=Policy.model_validate({"sources": {}}))
    attempt = PolicyAttempt(
        version=7, sha256=policy_sha256(document.policy), status="applied", at="2026-11-23T00:00:00.000Z"
    )
    journal = Journal(KeptPolicy()).in_force(attempt, document, origin="file", standings={})
    FilePolicyStore(state_dir=tmp_path / "state").keep(journal.kept)
    return tmp_path


def test_show_needs_no_file_that_settings_name(node: Path) -> None:
    done = policy(node, "show")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("version 7, from file; the next has to be above 7\n")
    told = json.loads(policy(node, "show", "--json").stdout)
    assert (told["version"], told["policy"]) == (7, {"sources": {}})


def test_reset_and_set_need_none_either(node: Path) -> None:
    inbox = FilePolicyInbox(state_dir=node / "state")
    assert policy(node, "reset").exit_code == 0
    wish = inbox.take()
    assert wish is not None
    assert wish.forget_floor
    (node / "mine.yaml").write_text("version: 8\npolicy: {}\n")
    assert policy(node, "set", node / "mine.yaml").exit_code == 0
    wish = inbox.take()
    assert wish is not None
    assert wish.document is not None
    assert json.loads(wish.document)["version"] == 8


def test_settings_that_are_wrong_are_told(node: Path) -> None:
    (node / "agent.toml").write_text(SETTINGS.replace("key_file", "kye_file"))
    done = policy(node, "show")
    assert done.exit_code == os.EX_CONFIG
    assert "kye_file" in done.stderr
