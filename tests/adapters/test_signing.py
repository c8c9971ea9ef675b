"""Signed control: what a node takes, and everything that it refuses."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.adapters.signing import JwsVerifier, TrustedKey
from agent.contract.signed import MAX_SIGNED_BYTES, ControlKind
from agent.domain.errors import Code, RefusedError
from agent.ports import ExpiredError
from tests.control_signatures import (
    COMMAND_TYPE,
    KEY,
    NOW_S,
    OTHER_KEY,
    base64url,
    document,
    header,
    jws,
    public_jwk,
    public_pem,
    raw,
)
from tests.fakes.clock import FakeClock

BOTH: Final[frozenset[ControlKind]] = frozenset({"policy", "command"})
BODY: Final = json.dumps(document()).encode()
GOOD: Final = jws()


def trusted(**changes: Any) -> TrustedKey:
    given_by_default: dict[str, Any] = {
        "name": "operations",
        "public_key": raw(KEY),
        "kinds": BOTH,
        "issuers": frozenset({"operations"}),
    }
    return TrustedKey(**(given_by_default | changes))


OTHER: Final = trusted(name="night-shift", public_key=raw(OTHER_KEY), issuers=frozenset({"night-shift"}))


def verifier(
    *keys: TrustedKey, require_signed: bool = True, clock: FakeClock | None = None, **names: str
) -> JwsVerifier:
    return JwsVerifier(
        site=names.get("site", "plant"),
        node=names.get("node", "nano-42"),
        keys=keys or (trusted(), OTHER),
        require_signed=require_signed,
        max_age_s={"policy": 86_400, "command": 600},
        clock=clock or FakeClock(),
    )


def refusal(payload: bytes, by: JwsVerifier, kind: ControlKind = "policy") -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        by.open(payload, kind=kind)
    return caught.value


def test_a_document_signed_for_this_node_is_opened() -> None:
    assert verifier().open(GOOD, kind="policy") == BODY


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_line_break_behind_it_is_no_part_of_it(ending: bytes) -> None:
    assert verifier().open(GOOD + ending, kind="policy") == BODY


@pytest.mark.parametrize("name", ["Ed25519", "EdDSA"])
def test_both_names_of_the_algorithm_are_taken(name: str) -> None:
    assert verifier().open(jws(alg=name), kind="policy") == BODY


@pytest.mark.parametrize(
    "audience", ["plant/*", ["plant/nano-42"], ["plant/nano-1", "plant/nano-42"], ["lab/*", "plant/*"]]
)
def test_a_document_for_a_group_is_for_each_of_its_nodes(audience: str | list[str]) -> None:
    assert verifier().open(jws(aud=audience), kind="policy") == BODY


@pytest.mark.parametrize(
    "audience", ["plant/nano-4", "lab/nano-42", "lab/*", ["plant/nano-1", "plant/nano-2"]]
)
def test_a_document_for_another_node_is_refused(audience: str | list[str]) -> None:
    error = refusal(jws(aud=audience), verifier())
    assert error.code is Code.SIGNATURE
    assert "and this is plant/nano-42" in error.message


@pytest.mark.parametrize("audience", [None, "", "*", "*/*", "plant", "plant/", "Plant/*", [], [7], 7, {}])
def test_a_document_that_says_for_no_node_is_refused(audience: object) -> None:
    assert refusal(jws(aud=audience), verifier()).code is Code.SIGNATURE


@pytest.mark.parametrize("body", [b'{"v":1}', b"", b" {}", b"[]", b"hello", b"\xef\xbb\xbf{}"])
def test_what_is_not_signed_is_refused_where_signatures_are_required(body: bytes) -> None:
    error = refusal(body, verifier())
    assert (error.code, "only if it is signed" in error.message) == (Code.SIGNATURE, True)


@pytest.mark.parametrize("body", [b'{"v":1}', b"", b" {}", b"hello"])
def test_what_is_not_signed_is_given_as_it_is_where_they_are_not(body: bytes) -> None:
    assert verifier(require_signed=False).open(body, kind="policy") == body


def test_a_bad_signature_is_refused_even_where_none_is_required() -> None:
    forged = jws(key=OTHER_KEY)
    error = refusal(forged, verifier(require_signed=False))
    assert error.code is Code.SIGNATURE
    assert "the signature is not key operations's" in error.message


def test_a_node_without_keys_takes_nothing_signed() -> None:
    by = JwsVerifier(
        site="plant",
        node="nano-42",
        keys=(),
        require_signed=False,
        max_age_s={"policy": 60, "command": 60},
        clock=FakeClock(),
    )
    assert refusal(GOOD, by).code is Code.SIGNATURE
    assert by.open(BODY, kind="policy") == BODY


@settings(max_examples=500, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_byte_of_a_signed_document_can_be_changed(place: int, change: int) -> None:
    altered = bytearray(GOOD)
    altered[place] ^= change
    # A first byte other than `e` makes it something that is not signed, which is refused as well.
    assert refusal(bytes(altered), verifier()).code is Code.SIGNATURE


def test_no_bit_of_the_signature_is_spare() -> None:
    # 86 digits of base64 have four bits more than 64 bytes, which a lenient reader throws away.
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [GOOD[:-1] + bytes([letter]) for letter in alphabet if letter != GOOD[-1]]
    assert {refusal(other, verifier()).code for other in others} == {Code.SIGNATURE}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200).map(lambda tail: b"e" + tail))
def test_noise_is_refused_with_a_code(noise: bytes) -> None:
    assert refusal(noise, verifier(require_signed=False)).code is Code.SIGNATURE


@given(st.integers(1, len(GOOD) - 1))
def test_a_part_of_a_signed_document_is_refused(end: int) -> None:
    assert refusal(GOOD[:end], verifier()).code is Code.SIGNATURE


def test_one_key_cannot_pass_for_another() -> None:
    swapped = jws(kid="night-shift")
    assert "the signature is not key night-shift's" in refusal(swapped, verifier()).message
    assert "no key [control.keys.unknown]" in refusal(jws(kid="unknown"), verifier()).message


def test_a_header_cannot_be_put_before_another_payload() -> None:
    first, second = GOOD.split(b"."), jws(b"{}").split(b".")
    for parts in ((first[0], second[1], first[2]), (first[0], first[1], second[2])):
        assert refusal(b".".join(parts), verifier()).code is Code.SIGNATURE


def test_a_policy_does_not_pass_for_a_command() -> None:
    error = refusal(GOOD, verifier(), "command")
    assert (error.code, "not signed as a command" in error.message) == (Code.SIGNATURE, True)
    assert verifier().open(jws(typ=COMMAND_TYPE), kind="command") == BODY
    assert refusal(jws(typ=COMMAND_TYPE), verifier()).code is Code.SIGNATURE
    assert refusal(jws(typ="JWT"), verifier()).code is Code.SIGNATURE


def test_none_is_no_algorithm() -> None:
    head = base64url(json.dumps(header(alg="none")).encode())
    unsigned = head + b"." + base64url(BODY)
    for ending in (b".", b"", b"." + b"A" * 86):
        assert refusal(unsigned + ending, verifier()).code is Code.SIGNATURE


@pytest.mark.parametrize("name", ["HS256", "HS512", "ES256", "RS256", "Ed448", "ed25519", "eddsa", ""])
def test_no_other_algorithm_is_taken(name: str) -> None:
    assert refusal(jws(alg=name), verifier()).code is Code.SIGNATURE


@pytest.mark.parametrize(
    "secret", [raw(KEY), public_pem().encode(), json.dumps(public_jwk()).encode(), public_jwk()["x"].encode()]
)
@pytest.mark.parametrize(("name", "digest"), [("HS256", hashlib.sha256), ("HS512", hashlib.sha512)])
def test_the_public_key_is_no_secret_to_sign_with(secret: bytes, name: str, digest: Any) -> None:
    for said in (name, "Ed25519"):
        text = base64url(json.dumps(header(alg=said)).encode()) + b"." + base64url(BODY)
        forged = text + b"." + base64url(hmac.digest(secret, text, digest))
        assert refusal(forged, verifier()).code is Code.SIGNATURE


@pytest.mark.parametrize(
    "more",
    [
        {"jwk": public_jwk(OTHER_KEY)},
        {"jku": "https://evil.example/keys"},
        {"x5c": []},
        {"crit": ["exp"]},
        {"b64": False, "crit": ["b64"]},
        {"cty": "json"},
    ],
)
def test_a_header_with_anything_more_is_refused(more: dict[str, Any]) -> None:
    error = refusal(jws(**more), verifier())
    assert (error.code, "only alg, kid, typ and aud" in error.message) == (Code.SIGNATURE, True)


@pytest.mark.parametrize(
    "protected",
    [
        b'{"alg":"Ed25519","alg":"none","kid":"operations"}',
        b"[" * 4000,
        b"[]",
        b'"e"',
        b"{" + b'"a":{' * 500 + b"}" * 501,
        b"\xff\xfe",
        b'{"alg":NaN}',
    ],
)
def test_a_header_that_is_no_plain_object_is_refused(protected: bytes) -> None:
    assert refusal(b"e" + jws(protected=protected)[1:], verifier()).code is Code.SIGNATURE
    assert refusal(jws(protected=protected), verifier()).code is Code.SIGNATURE


@pytest.mark.parametrize("missing", ["alg", "kid", "typ", "aud"])
def test_a_header_has_all_of_its_members(missing: str) -> None:
    changes: dict[str, Any] = {missing: None}
    assert refusal(jws(**changes), verifier()).code is Code.SIGNATURE


def test_a_key_signs_only_what_its_roles_say() -> None:
    by = verifier(trusted(kinds=frozenset({"command"})))
    error = refusal(GOOD, by)
    assert (error.code, error.message) == (
        Code.AUTH,
        "key operations may sign no policy; its roles in Settings: command",
    )


def test_a_command_that_changes_the_policy_needs_a_key_for_policies_too() -> None:
    signed = jws(typ=COMMAND_TYPE)
    assert verifier().open(signed, kind="command", also=["policy"]) == BODY
    by = verifier(trusted(kinds=frozenset({"command"})))
    assert by.open(signed, kind="command") == BODY
    with pytest.raises(RefusedError) as caught:
        by.open(signed, kind="command", also=["policy"])
    assert caught.value.code is Code.AUTH
    assert "but none that is a policy as well" in caught.value.message


def test_a_key_speaks_only_for_its_issuers() -> None:
    body = json.dumps(document(issuer="director")).encode()
    error = refusal(jws(body), verifier())
    assert (error.code, error.path) == (Code.AUTH, "/issuer")
    assert verifier(trusted(issuers=None)).open(jws(body), kind="policy") == body


def test_a_key_ends_when_settings_say_so() -> None:
    clock = FakeClock()
    by = verifier(trusted(ends_s=NOW_S + 10.0), clock=clock)
    assert by.open(GOOD, kind="policy") == BODY
    clock.advance(10)
    assert "since 2023-11-14T22:13:30+00:00 (not_after)" in refusal(GOOD, by).message


def test_without_the_time_nothing_signed_is_taken() -> None:
    clock = FakeClock()
    clock.is_synced = False
    assert refusal(GOOD, verifier(clock=clock)).code is Code.CLOCK
    # A forgery is told for what it is.
    assert refusal(jws(key=OTHER_KEY), verifier(clock=clock)).code is Code.SIGNATURE
    assert verifier(clock=clock, require_signed=False).open(BODY, kind="policy") == BODY


def test_a_document_ends_when_it_says_so() -> None:
    clock = FakeClock()
    clock.advance(3_599)
    assert verifier(clock=clock).open(GOOD, kind="policy") == BODY
    clock.advance(1)
    with pytest.raises(ExpiredError) as caught:
        verifier(clock=clock).open(GOOD, kind="policy")
    assert (caught.value.code, caught.value.path, caught.value.body) == (Code.EXPIRED, "/expires_at", BODY)


def test_a_document_grows_no_older_than_settings_allow() -> None:
    clock = FakeClock()
    body = json.dumps(document(expires_at="2030-01-01T00:00:00Z")).encode()
    clock.advance(599)
    command = jws(body, typ=COMMAND_TYPE)
    assert verifier(clock=clock).open(command, kind="command") == body
    clock.advance(1)
    assert refusal(command, verifier(clock=clock), "command").code is Code.EXPIRED
    assert verifier(clock=clock).open(jws(body), kind="policy") == body
    clock.advance(86_400 - 600)
    error = refusal(jws(body), verifier(clock=clock))
    assert (error.code, error.path) == (Code.EXPIRED, "/issued_at")


def test_a_document_from_the_future_is_refused() -> None:
    # Dated ahead, it could be played again after its id has been forgotten.
    ahead = jws(json.dumps(document(issued_at="2023-11-14T22:14:30Z")).encode())
    error = refusal(ahead, verifier())
    assert (error.code, error.path) == (Code.CLOCK, "/issued_at")
    slightly = json.dumps(document(issued_at="2023-11-14T22:14:10Z")).encode()
    assert verifier().open(jws(slightly), kind="policy") == slightly


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (json.dumps(document(issuer=None)).encode(), Code.SCHEMA, "/issuer"),
        (json.dumps(document(issuer=7)).encode(), Code.SCHEMA, "/issuer"),
        (json.dumps(document(issued_at=None)).encode(), Code.SCHEMA, "/issued_at"),
        (json.dumps(document(expires_at=None)).encode(), Code.SCHEMA, "/expires_at"),
        (json.dumps(document(expires_at=1_700_000_000)).encode(), Code.SCHEMA, "/expires_at"),
        (json.dumps(document(expires_at="tomorrow")).encode(), Code.SCHEMA, "/expires_at"),
        (json.dumps(document(expires_at="2023-11-14T23:13:20")).encode(), Code.SCHEMA, "/expires_at"),
        (b"[]", Code.JSON, ""),
        (b"nothing", Code.JSON, ""),
        (b"\xff", Code.JSON, ""),
        (b'{"issuer":"operations","issuer":"director"}', Code.JSON, ""),
        (b"[" * 50_000, Code.DEPTH, ""),
        (b'{"n":' + b"9" * 5_000 + b"}", Code.JSON, ""),
        (b" " * 65_537, Code.SIZE, ""),
    ],
)
def test_what_was_signed_has_to_say_from_whom_and_for_how_long(body: bytes, code: Code, path: str) -> None:
    error = refusal(jws(body), verifier())
    assert (error.code, error.path) == (code, path)


def test_a_document_of_64_kib_fits_and_nothing_larger_is_decoded() -> None:
    body = json.dumps(document(issuer="operations")).encode()
    body += b" " * (65_536 - len(body))
    assert verifier().open(jws(body), kind="policy") == body
    assert refusal(b"e" + b"y" * MAX_SIGNED_BYTES, verifier()).code is Code.SIZE


def test_a_node_without_keys_never_loads_the_library() -> None:
    program = """
import sys
from agent.adapters.signing import JwsVerifier, TrustedKey
from agent.adapters.system.clock import SystemClock

def make(*keys):
    return JwsVerifier(site="p", node="n", keys=keys, require_signed=False,
                       max_age_s={"policy": 60, "command": 60}, clock=SystemClock())

make().open(b"{}", kind="policy")
loaded = [name for name in sys.modules if name.startswith(("joserfc", "cryptography"))]
assert loaded == [], loaded
sys.modules["joserfc"] = None  # as where it is not installed
try:
    make(TrustedKey("k", bytes(32), frozenset({"policy"}), None))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ConfigError E_FILE: Settings have [control.keys]")
    assert "extra `signed`" in done.stdout
