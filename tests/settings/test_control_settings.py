"""`[control]`: whose signature a node takes, and key files that are not what they should be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.contract.problems import Problem
from agent.domain.errors import Code, ConfigError
from agent.settings import InvalidConfigError, Settings, load_settings
from agent.settings.advice import advice_on_settings
from agent.settings.public_keys import read_public_key
from tests.control_signatures import KEY, private_pem, public_jwk, public_pem, raw

MINIMAL: Final = 'site = "plant"\nnode = "nano-42"\n[broker]\nhost = "broker.plant.example"\n'
KEY_TABLE: Final = '[control.keys.ops]\npublic_key_file = "ops.pub"\nroles = ["policy"]\n'

Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    (tmp_path / "ops.pub").write_text(public_pem())

    def load_text(text: str) -> Settings:
        path = tmp_path / "agent.toml"
        path.write_text(f'state_dir = "{tmp_path}"\n' + MINIMAL + text)
        return load_settings(path, environ={})

    return load_text


def problem_of(load: Load, text: str) -> Problem:
    with pytest.raises(InvalidConfigError) as caught:
        load(text)
    assert len(caught.value.problems) == 1, caught.value
    return caught.value.problems[0]


def others_pem() -> dict[str, str]:
    keys: dict[str, ed448.Ed448PrivateKey | x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey] = {
        "Ed448": ed448.Ed448PrivateKey.generate(),
        "X25519": x25519.X25519PrivateKey.generate(),
        "P-256": ec.generate_private_key(ec.SECP256R1()),
    }
    return {
        name: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        for name, key in keys.items()
    }


def test_signatures_are_not_required_by_default(load: Load) -> None:
    control = load("").control
    assert (control.require_signed, control.keys) == (False, {})
    assert (control.max_policy_age_s, control.max_command_age_s) == (2_592_000, 600)


def test_a_key_is_read_from_its_file(load: Load) -> None:
    control = load("[control]\nrequire_signed = true\n" + KEY_TABLE).control
    key = control.keys["ops"]
    assert (key.public_key(), key.roles, key.issuers, key.ends_s) == (raw(KEY), ("policy",), (), None)


def test_a_key_may_end(load: Load) -> None:
    key = load(KEY_TABLE + 'not_after = "2023-11-14T23:13:20+01:00"\n').control.keys["ops"]
    assert key.ends_s == 1_700_000_000


@pytest.mark.parametrize(
    ("text", "line", "path", "message"),
    [
        ("[control]\nrequire_signed = true\n", 6, "control", "would refuse every policy"),
        ("[control]\nmax_command_age_s = 86400\n", 7, "control.max_command_age_s", "from 10 to 43200"),
        (KEY_TABLE + "issuers = [7]\n", 9, "control.keys.ops.issuers[0]", "a text is wanted"),
        (KEY_TABLE + 'not_after = "2028-01-01"\n', 9, "control.keys.ops.not_after", "no zone"),
        (KEY_TABLE.replace('["policy"]', "[]"), 8, "control.keys.ops.roles", "this has 0"),
        (KEY_TABLE.replace("policy", "admin"), 8, "control.keys.ops.roles[0]", "policy or command"),
        (KEY_TABLE.replace("ops.pub", "gone"), 7, "control.keys.ops.public_key_file", "there is no file"),
        (KEY_TABLE.replace("keys.ops", "keys.Ops"), 6, "control.keys.Ops", "is no name"),
    ],
)
def test_wrong_control_settings_are_told_by_line(
    load: Load, text: str, line: int, path: str, message: str
) -> None:
    problem = problem_of(load, text)
    assert (problem.line, problem.dotted) == (line, path)
    assert message in problem.message


@pytest.mark.parametrize(
    "text",
    [
        private_pem(),
        public_pem() + private_pem(),
        json.dumps({**public_jwk(), "d": "x" * 43}),
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    ],
)
def test_a_private_key_in_the_place_of_a_public_one_is_refused_loudly(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ops.pub"
    path.write_text(text)
    with pytest.raises(ConfigError, match="holds a PRIVATE key, which no node may have") as caught:
        read_public_key(path)
    assert not any(line in caught.value.message for line in text.splitlines() if len(line) > 20)


@pytest.mark.parametrize(
    "text",
    [
        *others_pem().values(),
        "",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== ops",
        public_pem() + public_pem(),
        public_pem().replace("MCow", "MCox"),
        public_pem().replace("A", "", 1),
        public_pem().replace("PUBLIC KEY", "CERTIFICATE"),
        json.dumps(public_jwk() | {"crv": "X25519"}),
        json.dumps(public_jwk() | {"x": "AAAA"}),
        json.dumps(public_jwk() | {"x": 7}),
        json.dumps({"keys": [public_jwk()]}),
        "{" * 5_000,
        "{nothing",
    ],
)
def test_a_file_without_an_ed25519_public_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ops.pub"
    path.write_text(text)
    with pytest.raises(ConfigError, match="an Ed25519 public key is wanted") as caught:
        read_public_key(path)
    assert caught.value.code is Code.FILE


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ops.pub"
    path.write_bytes(b"\xff\xfe" + bytes(40))
    with pytest.raises(ConfigError, match="it is not text"):
        read_public_key(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_public_key(tmp_path)


def test_pem_and_jwk_are_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "ops.pub"
    for text in (public_pem(), json.dumps(public_jwk()), "for operations\n" + public_pem()):
        path.write_text(text)
        assert read_public_key(path) == raw(KEY)


def test_a_key_that_openssl_made_is_read(tmp_path: Path) -> None:
    private, public = tmp_path / "ops.key", tmp_path / "ops.pub"
    for words in (
        ["genpkey", "-algorithm", "ed25519", "-out", str(private)],
        ["pkey", "-in", str(private), "-pubout", "-out", str(public)],
    ):
        subprocess.run(["openssl", *words], check=True, timeout=30, capture_output=True)
    assert len(read_public_key(public)) == 32


def test_keys_without_the_requirement_are_pointed_out(load: Load) -> None:
    told = list(advice_on_settings(load(KEY_TABLE)))
    assert any("control.require_signed is false" in sentence for sentence in told)
    required = load("[control]\nrequire_signed = true\n" + KEY_TABLE)
    assert not any("require_signed" in sentence for sentence in advice_on_settings(required))


def test_without_the_library_a_node_with_keys_does_not_start(load: Load, tmp_path: Path) -> None:
    load("[control]\nrequire_signed = true\n" + KEY_TABLE)
    program = (
        "import sys; sys.modules['joserfc'] = None; "
        "sys.argv = ['nanofleet', 'run', '--settings', sys.argv[1]]; from agent.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "agent.toml")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 78
    assert "joserfc is not installed" in done.stderr
    assert "extra `signed`" in done.stderr
