"""Reading TOML: each key and item at its line, and a clear word about what is no TOML."""

from __future__ import annotations

import pytest

from agent.contract.problems import FaultyDocumentError
from agent.settings.toml_text import read_toml

TEXT = b'''# settings
site = "plant"

[broker]
  host = "b"   # [not.a.table]
text = """
[log]
level = "not a key"
"""

[pipes.csi]
command = [
  "a", "b",
  # "c"
  "d]",
]
size.width = 1
inline = {x = 1, y = {z = 2}}

[ "secrets" . cam ]
hosts = ["h"]

[log]
level = "info"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("site",), 2),
        (("absent",), 1),
        (("broker",), 4),
        (("broker", "host"), 5),
        (("broker", "absent"), 4),
        (("broker", "text"), 6),
        (("pipes",), 11),
        (("pipes", "csi", "command"), 12),
        (("pipes", "csi", "command", 0), 13),
        (("pipes", "csi", "command", 1), 13),
        (("pipes", "csi", "command", 2), 15),
        (("pipes", "csi", "size", "width"), 17),
        (("pipes", "csi", "inline", "y", "z"), 18),
        (("secrets", "cam"), 20),
        (("secrets", "cam", "hosts", 0), 21),
        (("log", "level"), 24),
    ],
)
def test_line_of_a_key_is_found(path: tuple[str | int, ...], line: int) -> None:
    assert read_toml(TEXT, file="agent.toml").line_of(path) == line


def test_line_breaks_of_windows_count_once() -> None:
    document = read_toml(TEXT.replace(b"\n", b"\r\n"), file="agent.toml")
    assert (document.data["site"], document.line_of(("log", "level"))) == ("plant", 24)


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        (b'a = 1\nb = "x\n', 2, "no closing quote"),
        (b"a = 1\nb = plant\n", 2, "stands in quotes"),
        (b"a = 1\n\na = 2\n", 3, "given again"),
        (b"[a]\nx = 1\n[a]\ny = 1\n", 3, "twice"),
        (b"a = [1,\n2\n", 3, "array"),
        (b"a = \xff\n", 1, "UTF-8"),
        (b"a = 1\n" * 20_000, None, "65536"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(body: bytes, line: int | None, words: str) -> None:
    with pytest.raises(FaultyDocumentError) as caught:
        read_toml(body, file="agent.toml")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == ("agent.toml", line)
    assert words in problem.message
