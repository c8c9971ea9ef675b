from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.logs.lines import CleanLines
from agent.adapters.logs.scrub import Scrubber
from agent.adapters.logs.values import plain_text, plain_value

SECRET: Final = 'hunt"er2/ä&Z'


def scrubber(*secrets: str) -> Scrubber:
    made = Scrubber()
    for secret in secrets:
        made.register_secret(secret)
    return made


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("nothing to hide here: 12:30", "nothing to hide here: 12:30"),
        ("rtsp://admin:pw@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("RTSP://admin:pw@cam/1 and http://u@h/", "RTSP://***@cam/1 and http://***@h/"),
        ("rtsp://admin:p@ss@cam/live", "rtsp://***@cam/live"),
        ("rtsp://admin:p/a?s#s@cam/live", "rtsp://***@cam/live"),
        ("mqtts://node-1:@broker:8883", "mqtts://***@broker:8883"),
        ("https://host:8443/path?x=1", "https://host:8443/path?x=1"),
        ("https://host/people/@bob", "https://host/people/@bob"),
        ('{"url": "rtsp://u:p@h/", "n": 1}', '{"url": "rtsp://***@h/", "n": 1}'),
        ("password=pw1, user=bob", "password=***, user=bob"),
        ("the PassWord : pw1", "the PassWord : ***"),
        ('{"api_key": "a b", "x": 1}', '{"api_key": ***, "x": 1}'),
        ("?user=bob&token=abc&n=2", "?user=bob&token=***&n=2"),
        ('Authorization: Digest username="bob", response="77"\r\nX: y', "Authorization: ***\r\nX: y"),
        ("--mqtt-password=pw1", "--mqtt-password=***"),
        ("tokens: 3, token_count=4, secretary: Bob", "tokens: 3, token_count=4, secretary: Bob"),
    ],
)
def test_credentials_are_known_by_their_looks(text: str, clean: str) -> None:
    assert scrubber().text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        f"tried {SECRET} in vain",
        f"GET /?p={quote(SECRET, safe='')}",
        json.dumps({"error": f"bad {SECRET}"}),
        json.dumps({"error": f"bad {SECRET}"}, ensure_ascii=False),
        repr({"error": f"bad {SECRET}'"}),
        ascii(SECRET),
    ],
)
def test_a_registered_secret_is_hidden_in_every_spelling(text: str) -> None:
    clean = scrubber(SECRET).text(text)
    assert "hunt" not in clean
    assert "***" in clean


def test_the_longer_of_two_secrets_goes_as_a_whole() -> None:
    assert scrubber("hunter", "hunter2-long").text("hunter2-long hunter") == "*** ***"


def test_a_key_of_many_lines_is_hidden_line_by_line() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END PRIVATE KEY-----\n"
    made = scrubber(key)
    assert made.text("line: BgkqhkiG9w0B") == "line: ***"
    assert made.text("-----BEGIN CERTIFICATE-----") == "-----BEGIN CERTIFICATE-----"


def test_a_very_short_secret_does_not_hide_every_word() -> None:
    assert scrubber("on").text("one camera online") == "one camera online"


@given(
    st.text(min_size=4, max_size=40).filter(lambda secret: len(secret.strip()) >= 4 and "*" not in secret),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_whatever_a_secret_is_made_of_it_does_not_survive(secret: str, before: str, after: str) -> None:
    assert secret not in scrubber(secret).text(before + secret + after).replace("***", "")


@given(st.integers(min_value=0, max_value=9000), st.booleans())
def test_no_cut_lets_a_piece_of_a_secret_through(padding: int, many_bytes: bool) -> None:
    made = scrubber("hunter2-hunter2-hunter2")
    pad = ("ä" if many_bytes else "x") * padding
    address = f"{pad} rtsp://someone:pass-phrase@cam/ hunter2-hunter2-hunter2 {'y' * 9000}"
    lines = CleanLines(made)
    written = [
        plain_text(address, made.text),
        *lines.feed(address.encode()),
        *lines.feed(b"\n"),
        *lines.end(),
    ]
    assert len(written) == 2
    assert not any(piece in line for line in written for piece in ("hunt", "pass-", "some"))
    assert max(map(len, written)) < 8300


def test_hostile_text_is_scrubbed_in_linear_time() -> None:
    made = scrubber()
    for hostile in ("a" * 8000, "a://" * 2000, "a://b:" * 1300, "token " * 1300, "password=" * 900):
        assert len(made.text(hostile)) <= len(hostile)  # with quadratic search this runs into the timeout


class Strange:
    def __str__(self) -> str:
        return "strange rtsp://u:p@h/"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("a\x1b[31mb\x00\r", "a\\x1b[31mb\\x00\\x0d"),
        (b"\xff\xd8" * 500, "1000 bytes"),
        ((1, {"a": {2}}), [1, {"a": [2]}]),
        (Strange(), "strange rtsp://***@h/"),
        (list(range(150)), [*range(100), "… (150 items)"]),
        ({"db_password": "x", "token": 5, "secret": None, "auth-token": ["a"]}, None),
    ],
)
def test_whatever_is_logged_becomes_plain_and_clean(value: object, plain: object) -> None:
    if isinstance(value, dict):
        plain = {"db_password": "***", "token": "***", "secret": None, "auth-token": "***"}
    made = plain_value(value, scrubber().text)
    assert made == plain
    assert json.loads(json.dumps(made, allow_nan=False)) == plain


def test_a_structure_that_contains_itself_ends() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "[[[" in json.dumps(plain_value(endless, scrubber().text))


def test_lines_are_told_apart_and_colours_and_empty_lines_left_out() -> None:
    lines = CleanLines(scrubber())
    told = [*lines.feed(b"one\n\ntw"), *lines.feed(b"o\r\nthr\x1b[0;93mee\r"), *lines.feed(b"\x1b[m\nfour")]
    assert told == ["one", "two", "three"]
    assert lines.has_rest
    assert list(lines.end()) == ["four"]
    assert not lines.has_rest


def test_a_flood_of_lines_is_counted_and_told_by_one() -> None:
    now_s = 100.0
    lines = CleanLines(scrubber(), now_s=lambda: now_s)
    flood = [line for number in range(1000) for line in lines.feed(b"line %d\n" % number)]
    now_s += 11
    after = list(lines.feed(b"later\n"))
    assert flood == [f"line {number}" for number in range(200)]
    assert after == ["nanofleet: 800 more lines were left out here", "later"]
