"""`nanofleet rules test` and `nanofleet check` on rules, as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from agent.domain.stamp import rfc3339

COMMAND: Final = Path(sys.executable).with_name("nanofleet")
BEGIN_NS: Final = 1_700_000_000_000_000_000
POLICY: Final = """\
version: 7
policy:
  sources:
    door: {kind: synthetic, zones: {hall: {polygon: [[0, 0], [1, 0], [1, 1]]}}}
    motor: {kind: vibration}
  rules:
    crowd:
      when: count("person", zone="hall") >= 2
      for_s: 1
    hot:
      when: reading("motor/temperature") > 80
      until: reading("motor/temperature") < 75
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def message(seconds: float, source: str, *, node: str = "n1", boot: str = "b", **rest: Any) -> str:
    at_ns = BEGIN_NS + round(seconds * 1e9)
    head = {"v": 1, "epoch": "01JC", "seq": 1, "site": "plant", "node": node, "boot": boot, "clock": "synced"}
    times = {"time": rfc3339(at_ns), "monotonic_ms": round(seconds * 1e3)}
    return f"edge/v1/plant/{node}/x {json.dumps({**head, **times, 'source': source, **rest})}"


def seen(seconds: float, people: int, **rest: Any) -> str:
    one = {"class": "person", "class_id": 0, "confidence": 0.9, "box": [0, 0, 1, 1], "zones": ["hall"]}
    return message(seconds, "door", objects=[one] * people, **rest)


def felt(seconds: float, value: float) -> str:
    at = rfc3339(BEGIN_NS + round(seconds * 1e9))
    reading = {"time": at, "name": "temperature", "value": value, "unit": "°C", "quality": "good"}
    return message(seconds, "motor", readings=[reading], scores=[])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def tried(folder: Path, lines: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "messages").write_text("\n".join(lines) + "\n")
    return run(folder, "rules", "test", "--policy", "policy.yaml", "--messages", "messages", *arguments)


def test_it_tells_what_would_have_begun_and_ended_when(folder: Path) -> None:
    lines = [seen(step / 5, 2 if 10 <= step < 30 else 1) for step in range(50)]
    lines += [felt(2.05, 81), felt(3.05, 78), felt(4.05, 74)]
    done = tried(folder, lines, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["messages"] == 53
    assert [(event["rule"], event["began"], event["ended"]) for event in told["events"]] == [
        ("crowd", "2023-11-14T22:13:22.000Z", "2023-11-14T22:13:26.000Z"),
        ("hot", "2023-11-14T22:13:22.050Z", "2023-11-14T22:13:24.050Z"),
    ]
    assert told["events"][0]["values"] == {'count("person", zone="hall")': 2.0}


def test_it_prints_a_table_and_says_what_it_did_not_understand(folder: Path) -> None:
    lines = [seen(step / 5, 2) for step in range(20)] + [message(3, "gate", objects=[])]
    done = tried(folder, lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert "crowd" in done.stdout
    assert "still on" in done.stdout
    assert "21 messages, 2023-11-14T22:13:20.000Z to 2023-11-14T22:13:23.800Z\n" in done.stdout
    assert "warning: the policy has no source gate; its messages say nothing to the rules\n" in done.stdout


def test_messages_of_several_boots_are_put_in_order_by_the_wall_clock(folder: Path) -> None:
    first = [seen(10 + step / 5, 2, boot="one") for step in range(10)]
    after = [line.replace('"monotonic_ms": 1', '"monotonic_ms": ') for line in first]
    again = [line.replace('"boot": "one"', '"boot": "two"') for line in after]
    done = tried(folder, [*first[:5], *again[5:]], "--json")
    assert done.returncode == 0
    assert [event["rule"] for event in json.loads(done.stdout)["events"]] == ["crowd"]


def test_of_several_nodes_one_is_chosen(folder: Path) -> None:
    lines = [seen(step / 5, 2, node=f"n{step % 2}") for step in range(40)]
    done = tried(folder, lines)
    assert done.returncode == os.EX_DATAERR
    assert "the messages are of several nodes: plant/n0, plant/n1; choose one with --node" in done.stderr
    assert tried(folder, lines, "--node", "plant/n1").returncode == 0


def test_what_is_no_json_is_skipped_and_counted(folder: Path) -> None:
    lines = [seen(1, 1), "edge/v1/plant/n1/detections/door {", seen(2, 1)]
    done = tried(folder, lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("warning: lines skipped: 1; they are no text or no JSON, as pictures are\n")
    told = json.loads(tried(folder, lines, "--json").stdout)
    assert (told["messages"], told["skipped_lines"]) == (2, 1)


def test_what_cannot_be_read_is_refused(folder: Path) -> None:
    done = tried(folder, [seen(1, 1), seen(2, 1, time="yesterday")])
    assert done.returncode == os.EX_DATAERR
    assert done.stderr.startswith("nanofleet: messages: line 2 cannot be read: ")
    assert done.stderr.endswith("(E_SCHEMA)\n")
    gone = run(folder, "rules", "test", "--policy", "policy.yaml", "--messages", "nowhere")
    assert (gone.returncode, gone.stderr) == (
        66,
        "nanofleet: nowhere cannot be read: No such file or directory\n",
    )


def test_a_node_whose_clock_was_not_set_at_first_is_tried_at_once(folder: Path) -> None:
    before = [seen(step / 5 - BEGIN_NS / 1e9, 2, boot="one", monotonic_ms=200 * step) for step in range(20)]
    done = tried(folder, [*before, *(seen(step / 5, 2, boot="two") for step in range(20))], "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert [(event["began"][:4], event["reason"]) for event in told["events"]] == [
        ("1970", "over"),
        ("2023", None),
    ]


ASKING: Final = """\
version: 7
policy:
  sources:
    door:
      kind: synthetic
      tracking: {}
      zones:
        hall: {polygon: [[0, 0], [1, 0], [1, 1]]}
        new: {polygon: [[0, 0], [1, 0], [1, 1]]}
      lines: {gate: {points: [[0, 0], [1, 1]]}}
  rules:
    nobody: {when: 'crossed("gate", within_s=60) == 0'}
    well: {when: 'count() > 0', until: 'health("door") != "ok"'}
    still: {when: 'count(moving=false) > 0 && count(moving=true, zone="new") == 0'}
    elsewhere: {when: 'count("person", zone="new") > 0'}
    long: {when: 'dwell("person", zone="hall") > 5'}
    full: {when: 'count("person", zone="hall") > 1'}
"""


def test_rules_that_ask_what_no_message_tells_are_named(folder: Path) -> None:
    (folder / "policy.yaml").write_text(ASKING)
    lines = [seen(step / 5, 1) for step in range(20)]
    told = json.loads(tried(folder, lines, "--json").stdout)["not_told"]
    assert list(told) == ["nobody", "well", "still", "elsewhere", "long"]
    assert [len(whys) for whys in told.values()] == [1, 1, 2, 1, 1]
    printed = tried(folder, lines).stdout
    assert printed.count("may do otherwise on the node") == 5
    assert (
        "warning: rule elsewhere may do otherwise on the node: "
        "no message names the zone new: it was not there, or nothing stood in it\n"
    ) in printed
    followed = [line.replace('"zones": ["hall"]', '"zones": ["hall", "new"], "track": 1') for line in lines]
    told = json.loads(tried(folder, followed, "--json").stdout)["not_told"]
    assert list(told) == ["nobody", "well", "still"]


FAULTY: Final = POLICY.replace('zone="hall"', 'zone="hal"').replace("< 75", "= 75")


def test_check_and_trial_name_each_faulty_rule_with_its_place(folder: Path) -> None:
    (folder / "policy.yaml").write_text(FAULTY)
    (folder / "agent.toml").write_text('site = "plant"\nnode = "n1"\n[broker]\nhost = "broker"\n')
    checked = run(folder, "check", "--settings", "agent.toml", "--policy", "policy.yaml")
    assert checked.returncode == os.EX_CONFIG
    tested = tried(folder, [seen(1, 1)])
    assert tested.returncode == os.EX_CONFIG
    for said in (checked.stdout, tested.stderr):
        assert "policy.yaml:8: policy.rules.crowd.when: there is no zone 'hal'; did you mean 'hall'?" in said
        assert '    column 22: here> "hal") >= 2' in said
        assert "policy.yaml:12: policy.rules.hot.until: '=' at character 30: two are wanted" in said
