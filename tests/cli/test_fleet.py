"""`nanofleet fleet`: keys, signatures, and what is said of them."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli import app

POLICY = "v: 1\nversion: 9\npolicy: {}\n"


def fleet(*arguments: object, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ["fleet", *map(str, arguments)], input=given, catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pair `ops`, settings that trust it, and a signed policy in `policy.jws`."""
    assert fleet("keygen", "ops", "--out", tmp_path).exit_code == 0
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "agent.toml").write_text(
        'site = "plant"\nnode = "nano-42"\n[broker]\nhost = "b"\n[control]\nrequire_signed = true\n'
        '[control.keys.ops]\npublic_key_file = "ops.pub"\nroles = ["policy"]\n'
    )
    words = ("--key", tmp_path / "ops.key", "--kind", "policy", "--for", "plant/nano-42")
    done = fleet("sign", *words, "--out", tmp_path / "policy.jws", tmp_path / "policy.yaml")
    assert done.exit_code == 0, done.output
    return tmp_path


def test_keygen_prints_what_settings_need(tmp_path: Path) -> None:
    done = fleet("keygen", "ops", "--out", tmp_path)
    told = tomllib.loads(done.stdout)
    assert told["control"]["keys"]["ops"]["roles"] == ["policy", "command"]
    assert "PRIVATE" not in done.output
    again = fleet("keygen", "ops", "--out", tmp_path)
    assert again.exit_code == os.EX_CONFIG
    assert "never replaced" in again.stderr
    assert fleet("keygen", "Ops/..", "--out", tmp_path).exit_code == 2


def test_what_was_signed_is_verified_as_the_node_would(folder: Path) -> None:
    done = fleet("verify", "--settings", folder / "agent.toml", folder / "policy.jws")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "issued by ops, signed by ops for plant/nano-42" in done.stdout


def test_what_was_signed_is_verified_by_a_key_alone(folder: Path) -> None:
    keys = ("--keys", f"ops={folder / 'ops.pub'}")
    good = fleet("verify", *keys, "--for", "plant/nano-42", "-", given=(folder / "policy.jws").read_text())
    assert good.exit_code == 0, good.output
    other = fleet("verify", *keys, "--for", "plant/nano-1", folder / "policy.jws")
    assert other.exit_code == os.EX_DATAERR
    assert other.stderr == (
        "nanofleet fleet verify: it was signed for plant/nano-42, and this is plant/nano-1\n"
    )


def test_what_is_not_signed_does_not_verify(folder: Path) -> None:
    done = fleet("verify", "--settings", folder / "agent.toml", folder / "policy.yaml")
    assert (done.exit_code, done.stderr) == (os.EX_DATAERR, "nanofleet fleet verify: it is not signed\n")


def test_verify_wants_settings_or_keys(folder: Path) -> None:
    assert fleet("verify", folder / "policy.jws").exit_code == 2
    assert fleet("verify", "--keys", "ops", "--for", "plant/n", folder / "policy.jws").exit_code == 2
    assert fleet("verify", "--keys", f"ops={folder / 'ops.pub'}", folder / "policy.jws").exit_code == 2


def test_a_command_is_signed_from_standard_input(folder: Path) -> None:
    command = json.dumps({"v": 1, "op": "ping", "id": "one"})
    words = ("--key", folder / "ops.key", "--kind", "command", "--for", "plant/*", "--expires-in", 60)
    done = fleet("sign", *words, "-", given=command)
    assert done.exit_code == 0, done.output
    told = fleet("verify", "--settings", folder / "agent.toml", "-", given=done.stdout)
    assert told.exit_code == os.EX_DATAERR
    assert "key ops may sign no command; its roles in Settings: policy" in told.stderr


def test_a_policy_that_is_wrong_is_not_signed(folder: Path) -> None:
    words = ("--key", folder / "ops.key", "--kind", "policy", "--for", "plant/*")
    done = fleet("sign", *words, "-", given="v: 1\nversion: nine\npolicy: {}\n")
    assert (done.exit_code, done.stdout) == (os.EX_DATAERR, "")
    assert "version" in done.stderr


def test_a_key_that_cannot_be_used_is_told(folder: Path) -> None:
    (folder / "ops.key").chmod(0o644)
    words = ("--key", folder / "ops.key", "--kind", "policy", "--for", "plant/*")
    done = fleet("sign", *words, folder / "policy.yaml")
    assert done.exit_code == os.EX_CONFIG
    assert "chmod 0600" in done.stderr
    assert (folder / "ops.key").read_text().splitlines()[1] not in done.output
    assert fleet("sign", *words, folder / "none.yaml").exit_code == os.EX_CONFIG
