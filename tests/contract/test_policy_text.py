"""What somebody reads who wrote a policy wrongly: each problem at its line, with what would be right."""

from __future__ import annotations

import json

import pytest

from agent.contract.policy import PolicyDocument
from agent.contract.policy_text import parse_policy, read_policy_text, valid_parts
from agent.contract.problems import FaultyDocumentError, Problem
from agent.domain.errors import Code

HEAD = "version: 1\npolicy:\n"


def parse(text: str, *, file: str = "policy.yaml") -> PolicyDocument:
    return parse_policy(read_policy_text(text.encode(), file=file))


def problems_of(text: str, *, file: str = "policy.yaml") -> tuple[Problem, ...]:
    with pytest.raises(FaultyDocumentError) as caught:
        parse(text, file=file)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "line", "path", "message", "hint"),
    [
        ("policy: {}\n", 1, "version", "'version' is missing", "a whole number"),
        ("version: soon\npolicy: {}\n", 1, "version", "whole number", "Raise it"),
        ("version: 1\n", 1, "policy", "'policy' is missing", "a mapping"),
        ("version: 1\npolicy:\n", 2, "policy", "a mapping is wanted here, not nothing", ""),
        ("v: 2\nversion: 1\npolicy: {}\n", 1, "v", "1 is wanted here, not 2", ""),
        ("version: 1\nsources: {}\npolicy: {}\n", 2, "sources", "no key", "belongs below 'policy'"),
        ("version: 1\npolcy: {}\npolicy: {}\n", 2, "polcy", "no key", "did you mean 'policy'?"),
        ("version: 1\nissued_at: soon\npolicy: {}\n", 2, "issued_at", "RFC 3339", ""),
        ("version: 1\nissued_at: 2026-11-23T16:57:01\npolicy: {}\n", 2, "issued_at", "no zone", ""),
        (HEAD + "  sources:\n    Door: {kind: system}\n", 4, "policy.sources.Door", "is no name", ""),
        (HEAD + "  sources:\n    door: 5\n", 4, "policy.sources.door", "a mapping is wanted", ""),
        (HEAD + "  sources:\n    door: {}\n", 4, "policy.sources.door.kind", "'kind' is missing", "rtsp"),
        (
            HEAD + "  sources:\n    door:\n      kind: rstp\n",
            5,
            "policy.sources.door.kind",
            "not 'rstp'",
            "did you mean rtsp?",
        ),
        (
            HEAD + "  sources:\n    door:\n      kind: system\n      every_sec: 5\n",
            6,
            "policy.sources.door.every_sec",
            "no key",
            "did you mean 'every_s'?",
        ),
        (
            HEAD + "  sources:\n    door:\n      kind: pipe\n      fps: '3'\n      pipe: csi\n",
            6,
            "policy.sources.door.fps",
            "a number from 0.001 to 240 is wanted here, not '3'",
            "Most frames a second",
        ),
        (
            HEAD + "  sources:\n    door: {kind: system, enabled: yes}\n",
            4,
            "policy.sources.door.enabled",
            "true or false is wanted here, not 'yes'",
            "",
        ),
        (
            HEAD + "  sources:\n    door: {kind: file}\n",
            4,
            "policy.sources.door.path",
            "'path' is missing",
            "a path",
        ),
        (
            HEAD + "  sources:\n    door: {kind: file, path: ../../etc/passwd}\n",
            4,
            "policy.sources.door.path",
            "leaves media_root",
            "",
        ),
        (
            HEAD + "  sources:\n    door: {kind: file, path: /etc/passwd}\n",
            4,
            "policy.sources.door.path",
            "leaves media_root",
            "",
        ),
        (
            HEAD + "  sources:\n    door: {kind: v4l2, device: ../mem}\n",
            4,
            "policy.sources.door.device",
            "no video device",
            "v4l/by-id",
        ),
        (
            HEAD + "  sources:\n    door: {kind: v4l2, format: mjpeg}\n",
            4,
            "policy.sources.door.format",
            "right form",
            "FOURCC",
        ),
        (
            HEAD + "  sources:\n    door: {kind: rtsp, url: 'file:///etc/passwd'}\n",
            4,
            "policy.sources.door.url",
            "rtsp://camera.example",
            "",
        ),
        (
            HEAD + "  sources:\n    m: {kind: vibration, fault_for_s: 30}\n",
            4,
            "policy.sources.m",
            "never ends",
            "",
        ),
        (
            HEAD
            + "  sources:\n    d:\n      kind: system\n      model: peple\n  models: {people: {file: a}}",
            6,
            "policy.sources.d.model",
            "no model 'peple'",
            "did you mean 'people'?",
        ),
        (
            HEAD
            + "  sources:\n    m: {kind: system}\n  rules:\n    r:\n      when: a > 1\n      snapshot: [m]\n",
            8,
            "policy.rules.r.snapshot[0]",
            "no camera 'm'",
            "defined: nothing",
        ),
        (
            HEAD + "  rules:\n    r: {when: 'size(objects > 3'}\n",
            4,
            "policy.rules.r.when",
            "'(' is never closed",
            "CEL",
        ),
        (
            HEAD + "  models:\n    m: {file: a.onnx, provider: cudda}\n",
            4,
            "policy.models.m.provider",
            "cpu, cuda, tensorrt, openvino or migraphx is wanted here, not 'cudda'",
            "did you mean cuda?",
        ),
        (
            HEAD + "  models:\n    m:\n      file: a.onnx\n      shape: [384, 9000]\n",
            6,
            "policy.models.m.shape",
            "file, auto or a list of 2, each a whole number from 32 to 4096 is wanted here",
            "[height, width]",
        ),
        (
            HEAD + "  models:\n    m: {file: a.onnx, sha256: ABC}\n",
            4,
            "policy.models.m.sha256",
            "right form",
            "64 hexadecimal digits",
        ),
        (
            HEAD + "  models:\n    m:\n      file: a\n      thresholds:\n        classes: {cat: 1.5}\n",
            7,
            "policy.models.m.thresholds.classes.cat",
            "a number from 0 to 1 or off is wanted here, not 1.5",
            "",
        ),
        (
            HEAD
            + "  sources:\n    c:\n      kind: synthetic\n      zones: {z: {polygon: [[0, 0], [1, 1]]}}\n",
            6,
            "policy.sources.c.zones.z.polygon",
            "at least 3, each a list of 2, each a number from 0 to 1 is wanted here, and this has 2",
            "fractions",
        ),
        (
            HEAD
            + "  rules:\n    r:\n      when: count() > 0\n      schedule:\n        from: '22:00'\n"
            + "        to: '06:00'\n        days: []\n",
            9,
            "policy.rules.r.schedule.days",
            "a list of at least 1, each mon, tue, wed, thu, fri, sat or sun is wanted here, and this has 0",
            "Days on which",
        ),
        (
            HEAD
            + "  sources:\n    c:\n      kind: synthetic\n      zones:\n        z:\n"
            + "          polygon: [[0, 0], [1, 0], [1, 1]]\n          classes: []\n",
            9,
            "policy.sources.c.zones.z.classes",
            "a list of at least 1, each a text is wanted here, and this has 0",
            "Without: all",
        ),
        (
            HEAD
            + "  sources:\n    c:\n      kind: synthetic\n      tracking: {}\n      lines:\n        l:\n"
            + "          points: [[0, 0], [1, 0]]\n          classes: []\n",
            10,
            "policy.sources.c.lines.l.classes",
            "a list of at least 1, each a text is wanted here, and this has 0",
            "Without: all",
        ),
        (
            HEAD + "  sources:\n    c:\n      kind: synthetic\n      zones:\n        z:\n          polygon:\n"
            "          - [0, 0]\n          - [2, 1]\n          - [0, 1]\n",
            10,
            "policy.sources.c.zones.z.polygon[1][0]",
            "a number from 0 to 1 is wanted here, not 2",
            "",
        ),
        (
            HEAD
            + "  sources:\n    c: {kind: synthetic, zones: {z: {polygon: [[0, 0], [1, 1], [0.5, 0.5]]}}}\n",
            4,
            "policy.sources.c.zones.z",
            "an area is wanted",
            "",
        ),
        (
            HEAD + "  publish:\n    expiry_s: {detectoins: 5}\n",
            4,
            "policy.publish.expiry_s.detectoins",
            "no key",
            "did you mean 'detections'?",
        ),
        (
            HEAD + "  power: {lanes: all}\n",
            3,
            "policy.power.lanes",
            "auto, latency, throughput or a whole number from 1 to 64 is wanted here, not 'all'",
            "one lane with all threads",
        ),
        (
            HEAD + "  power: {mode: eco}\n  power: {mode: full}\n",
            4,
            "policy.power",
            "stands here twice",
            "go",
        ),
    ],
)
def test_a_wrong_policy_is_told_by_line_and_path(
    text: str, line: int, path: str, message: str, hint: str
) -> None:
    (problem,) = problems_of(text)
    assert (problem.file, problem.line, problem.dotted) == ("policy.yaml", line, path)
    assert message in problem.message
    assert hint in problem.hint


def test_all_problems_are_told_at_once_in_the_order_of_lines() -> None:
    problems = problems_of(
        "version: -1\npolicy:\n  models:\n    m: {}\n  sources:\n    a: {kind: file, model: n, zoms: 1}\n"
        "    b: {kind: rtsp, url: 'http://'}\n  rules:\n    r: {when: x, snapshot: [q]}\n"
        "  publish: {window: 0}\n"
    )
    assert [(each.line, each.dotted) for each in problems] == [
        (1, "version"),
        (4, "policy.models.m.file"),
        (6, "policy.sources.a.model"),
        (6, "policy.sources.a.path"),
        (6, "policy.sources.a.zoms"),
        (7, "policy.sources.b.url"),
        (9, "policy.rules.r.snapshot[0]"),
        (10, "policy.publish.window"),
    ]


@pytest.mark.parametrize(
    "stanza",
    [
        "{kind: rtsp, url: 'rtsp://user:hunter2@camera/stream'}",
        "{kind: rtsp, url: 'rtsp://user:hunter2@camera:port/'}",
        "{kind: rtsp, url: 'ftp://user:hunter2@camera/'}",
        "{kind: rtsp, url: 'rtsp://camera/', password: hunter2}",
        "{kind: rtsp, url: [hunter2]}",
    ],
)
def test_no_password_is_repeated_in_a_problem(stanza: str) -> None:
    problems = problems_of(HEAD + f"  sources:\n    door: {stanza}\n")
    assert problems
    assert "hunter2" not in "\n".join(map(str, problems))


def test_another_version_of_the_contract_has_its_own_code() -> None:
    (problem,) = problems_of("v: 2\nversion: 1\npolicy: {}\n")
    assert (problem.code, problem.pointer) == (Code.VERSION, "/v")


def test_pointer_of_the_error_is_that_of_the_first_problem() -> None:
    with pytest.raises(FaultyDocumentError) as caught:
        parse(HEAD + "  models:\n    m: {file: a.onnx, thresholds: {classes: {a/b: 2}}}\n")
    assert (caught.value.code, caught.value.path) == (Code.SCHEMA, "/policy/models/m/thresholds/classes/a~1b")


def test_json_is_read_by_the_name_of_the_file_and_keeps_its_lines() -> None:
    text = json.dumps({"version": 1, "policy": {"power": {"lanes": 0}}}, indent=1)
    (problem,) = problems_of(text, file="policy.json")
    assert (problem.line, problem.dotted) == (5, "policy.power.lanes")
    assert problems_of("version: 1\npolicy: {}\n", file="policy.json")[0].code is Code.JSON


def test_valid_parts_are_the_stanzas_that_are_right_by_themselves() -> None:
    document = read_policy_text(
        b"policy:\n  models: {a: {file: a.onnx}, b: {}}\n"
        b"  sources: {c: {kind: system, model: nowhere}, d: {kind: file}}\n  rules: 5\n",
        file="policy.yaml",
    )
    parts = valid_parts(document)
    assert (list(parts.models), list(parts.sources)) == (["a"], ["c"])
