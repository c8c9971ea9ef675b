"""What `agent.fleet` signs is what a node takes; and what no node would take is not signed."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from agent.adapters.signing import JwsVerifier, TrustedKey
from agent.contract.json_text import read_json
from agent.contract.policy_text import parse_policy
from agent.contract.signed import ControlKind
from agent.domain.errors import Code, ConfigError, RefusedError
from agent.fleet.key_files import make_key_pair, read_private_key
from agent.fleet.signing import sign, stamped
from agent.settings.public_keys import read_public_key
from tests.control_signatures import (
    KEY,
    NOW_S,
    POLICY_TYPE,
    base64url,
    document,
    private_pem,
    public_jwk,
    raw,
)
from tests.fakes.clock import FakeClock

YAML: Final = b"v: 1\nversion: 9\nissuer: night-shift\npolicy:\n  publish: {heartbeat_s: 5}\n"
COMMAND: Final = b'{"v": 1, "op": "ping", "id": "first"}'


def signing_key() -> OKPKey:
    return OKPKey.import_key(private_pem())


def node(public_key: bytes | None = None, *, issuer: str = "night-shift", name: str = "ops") -> JwsVerifier:
    return JwsVerifier(
        site="plant",
        node="nano-42",
        keys=[
            TrustedKey(
                name=name,
                public_key=public_key or raw(KEY),
                kinds=frozenset({"policy", "command"}),
                issuers=frozenset({issuer}),
            )
        ],
        require_signed=True,
        max_age_s={"policy": 86_400, "command": 600},
        clock=FakeClock(),
    )


def stamp(text: bytes, kind: ControlKind = "policy", *, issuer: str | None = None) -> bytes:
    return stamped(text, kind=kind, issuer=issuer, signer="ops", now_s=NOW_S, expires_in_s=60)


def signed(body: bytes, kind: ControlKind = "policy", *audience: str) -> bytes:
    return sign(
        body, kind=kind, key=signing_key(), key_id="ops", audience=audience or ("plant/nano-42",)
    ).encode()


def test_a_policy_in_yaml_is_dated_signed_and_taken() -> None:
    body = stamp(YAML)
    assert node().open(signed(body), kind="policy") == body
    policy = parse_policy(read_json(body))
    assert (policy.version, policy.issuer, policy.policy.publish.heartbeat_s) == (9, "night-shift", 5)
    assert (policy.issued_at, policy.expires_at) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:14:20.000Z")


def test_a_command_is_signed_in_the_keys_name_where_it_says_none() -> None:
    body = stamp(COMMAND, "command")
    assert json.loads(body)["issuer"] == "ops"
    assert node(issuer="ops").open(signed(body, "command"), kind="command") == body


def test_an_issuer_that_is_given_stands() -> None:
    assert json.loads(stamp(YAML, issuer="director"))["issuer"] == "director"


def test_for_several_nodes() -> None:
    body = stamp(YAML)
    assert node().open(signed(body, "policy", "lab/*", "plant/nano-42"), kind="policy") == body
    with pytest.raises(RefusedError, match="signed for lab/"):
        node().open(signed(body, "policy", "lab/*", "plant/nano-4"), kind="policy")


@pytest.mark.parametrize(
    ("text", "kind", "code", "says"),
    [
        (b"v: 1\nversion: 9\npolicy: {sorces: {}}\n", "policy", Code.SCHEMA, "sorces"),
        (b"v: 2\nversion: 9\npolicy: {}\n", "policy", Code.VERSION, "v"),
        (b"v: 1\nv: 1\nversion: 9\npolicy: {}\n", "policy", Code.JSON, "twice"),
        (b"- 1\n", "policy", Code.SCHEMA, "object"),
        (b"{", "policy", Code.JSON, "JSON"),
        (b'{"v": 1, "op": "png", "id": "a"}', "command", Code.UNKNOWN_OP, "png"),
        (b'{"v": 1, "op": "ping"}', "command", Code.SCHEMA, "id"),
        (b"v: 1\n", "command", Code.JSON, "JSON"),
        (b'{"v": 1, "version": 9, "policy": {}, "issuer": 7}', "policy", Code.SCHEMA, "issuer"),
    ],
)
def test_what_no_node_would_take_is_not_signed(text: bytes, kind: ControlKind, code: Code, says: str) -> None:
    with pytest.raises(RefusedError) as caught:
        stamp(text, kind)
    assert caught.value.code is code
    assert says in caught.value.message


def test_what_grows_too_large_by_being_dated_is_not_signed() -> None:
    text = b'{"v":1,"version":9,"policy":{},"issuer":"' + b"x" * 150 + b'"}'
    text += b" " * (65_536 - len(text))
    assert len(stamp(text)) < 400
    with pytest.raises(RefusedError) as caught:
        stamp(text + b" ")
    assert caught.value.code is Code.SIZE


@pytest.mark.parametrize("audience", [(), ("plant",), ("*/*",), ("plant/nano-42", "Lab/*")])
def test_nothing_is_signed_for_nobody(audience: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match="SITE/NODE"):
        sign(b"{}", kind="policy", key=signing_key(), key_id="ops", audience=audience)


def test_nothing_is_signed_for_more_nodes_than_a_header_holds() -> None:
    everybody = [f"plant/{'n' * 28}-{number:03}" for number in range(200)]
    with pytest.raises(RefusedError, match="too many"):
        sign(b"{}", kind="policy", key=signing_key(), key_id="ops", audience=everybody)


def test_a_hundred_nodes_are_not_too_many() -> None:
    body = stamp(YAML)
    some = [f"plant/{'n' * 28}-{number:03}" for number in range(99)]
    assert node().open(signed(body, "policy", *some, "plant/nano-42"), kind="policy") == body


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["policy", "command"]))
def test_opening_is_the_inverse_of_signing(noise: bytes, kind: ControlKind) -> None:
    text = base64url(noise).decode()
    body = json.dumps(document(issuer="night-shift", note=text)).encode()
    assert node().open(signed(body, kind), kind=kind) == body


def test_a_pair_that_was_made_signs_and_verifies(tmp_path: Path) -> None:
    files = make_key_pair("ops", folder=tmp_path)
    body = stamp(YAML)
    jws = sign(
        body, kind="policy", key=read_private_key(files.private), key_id="ops", audience=["plant/nano-42"]
    )
    assert node(read_public_key(files.public)).open(jws.encode(), kind="policy") == body
    modes = [oct(path.stat().st_mode & 0o777) for path in (files.private, files.public)]
    assert (modes[0], modes[1][-3:]) == ("0o600", "644")


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    files = make_key_pair("ops", folder=tmp_path)
    before = files.private.read_bytes()
    with pytest.raises(ConfigError, match="never replaced"):
        make_key_pair("ops", folder=tmp_path)
    files.public.unlink()
    with pytest.raises(ConfigError, match="never replaced"):
        make_key_pair("ops", folder=tmp_path)
    assert files.private.read_bytes() == before


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        make_key_pair("ops", folder=tmp_path / "none")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_private_key_that_is_open_to_others_signs_nothing(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ops.key"
    path.write_text(private_pem())
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"\(mode {mode:04o}\); chmod 0600"):
        read_private_key(path)


def ed448_pem() -> str:
    key = ed448.Ed448PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        json.dumps(public_jwk()),
        json.dumps({"kty": "oct", "k": "c2VjcmV0"}),
        private_pem().replace("MC4", "MC5"),
        private_pem()[:-40],
        ed448_pem(),
    ],
)
def test_a_file_without_a_private_key_signs_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ops.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no Ed25519 private key") as caught:
        read_private_key(path)
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- others' signatures, and ours for others ---


def openssl(*words: str, cwd: Path) -> None:
    subprocess.run(["openssl", *words], cwd=cwd, check=True, timeout=30, capture_output=True)


def test_what_openssl_signed_is_taken(tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "ed25519", "-out", "ops.key", cwd=tmp_path)
    openssl("pkey", "-in", "ops.key", "-pubout", "-out", "ops.pub", cwd=tmp_path)
    body = stamp(YAML)
    head = {"typ": POLICY_TYPE, "alg": "EdDSA", "aud": "plant/*", "kid": "ops"}
    text = base64url(json.dumps(head, indent=1).encode()) + b"." + base64url(body)
    (tmp_path / "text").write_bytes(text)
    openssl(
        "pkeyutl", "-sign", "-inkey", "ops.key", "-rawin", "-in", "text", "-out", "signature", cwd=tmp_path
    )
    jws = text + b"." + base64url((tmp_path / "signature").read_bytes())
    assert node(read_public_key(tmp_path / "ops.pub")).open(jws, kind="policy") == body


def test_openssl_takes_what_was_signed_here(tmp_path: Path) -> None:
    files = make_key_pair("ops", folder=tmp_path)
    jws = sign(
        b"{}", kind="policy", key=read_private_key(files.private), key_id="ops", audience=["plant/nano-42"]
    )
    text, _, signature = jws.rpartition(".")
    (tmp_path / "text").write_text(text)
    (tmp_path / "signature").write_bytes(base64.urlsafe_b64decode(signature + "=="))
    verify = ["pkeyutl", "-verify", "-pubin", "-inkey", "ops.pub", "-rawin", "-in", "text"]
    openssl(*verify, "-sigfile", "signature", cwd=tmp_path)
    head: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text.partition(".")[0] + "=="))
    assert head == {"alg": "Ed25519", "kid": "ops", "typ": POLICY_TYPE, "aud": "plant/nano-42"}


def test_the_example_of_rfc_8037_has_the_signature_that_is_printed_there() -> None:
    # Source: RFC 8037, appendix A.4: another implementation's key, text and signature.
    key = OKPKey.import_key(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }
    )
    from joserfc.jws import JWSRegistry

    model = JWSRegistry.algorithms["Ed25519"]
    printed = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    text = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    assert base64url(model.sign(text, key)).decode() == printed
