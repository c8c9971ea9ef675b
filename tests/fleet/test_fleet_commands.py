"""`nanofleet fleet` on a real broker, as processes; the nodes are simulated."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.brokers import HOST, OPERATOR, Authority, Mosquitto, free_port
from tests.fleet.player import REPOSITORY
from tests.fleet.simulated import POLICY, Talk, detections, payloads, settings_of
from tests.polling import until_blocking

pytestmark = [pytest.mark.broker]

COMMAND: Final = Path(sys.executable).with_name("nanofleet")
NODE: Final = "plant/nano-1"

Fleet = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def fleet(tmp_path: Path, broker: Mosquitto) -> Fleet:
    """`nanofleet fleet COMMAND …` with an operator's settings."""
    settings = settings_of(tmp_path, broker)
    return lambda *words, **how: run(settings, *words, **how)


def run(settings: Path, command: str, *words: object, columns: int = 200) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "fleet", command, "--settings", settings, *map(str, words)],
        env={"PATH": os.environ["PATH"], "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str], *, code: int = 0) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert done.returncode == code, done.stdout + done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_get_tells_what_nodes_report(fleet: Fleet, talk: Talk) -> None:
    talk.leave([NODE, "plant/nano-2"], session=17)
    talk.say(NODE, "alarms/crowd", {"v": 1, "severity": "warning", "message": "many"}, retain=True)
    nodes = told(fleet("get", "--json", NODE, "plant/nano-9"))["nodes"]
    assert nodes[NODE]["state"]["session"] == 17
    assert nodes[NODE]["info"]["from_the_future"] == {"x": 1}
    assert nodes[NODE]["config"]["version"] == 3
    assert nodes[NODE]["alarms"]["crowd"]["message"] == "many"
    assert nodes[NODE]["heartbeat"] is None
    assert nodes["plant/nano-9"] == {
        **dict.fromkeys(("state", "info", "health", "config", "heartbeat")),
        "alarms": {},
    }
    assert sorted(told(fleet("get", "--json", "plant/*"))["nodes"]) == [NODE, "plant/nano-2"]


def test_get_shows_a_table(fleet: Fleet, talk: Talk) -> None:
    talk.leave([NODE], session=17)
    health = payloads()["health"]
    health["sources"]["door"] = {"status": "failed", "code": "E_OPEN"}
    talk.say(NODE, "health", health | {"status": "failed"}, retain=True)
    done = fleet("get", NODE, "plant/nano-9")
    row = next(line for line in done.stdout.splitlines() if NODE in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == [NODE, "online", "17", "0.2.0", "3 applied", "1/1", "door failed E_OPEN", "-"]
    assert done.stderr == "nothing is known of plant/nano-9\n"


def test_get_by_the_settings_that_the_playbooks_readme_shows(
    talk: Talk, broker: Mosquitto, tmp_path: Path
) -> None:
    talk.leave([NODE])
    readme = (REPOSITORY / "deploy/ansible/README.md").read_text()
    shown = re.search(r"<<'TOML'\n(.*?)\nTOML\n(.*?)\n```", readme, re.DOTALL)
    assert shown is not None
    assert shown[2].split()[1:3] == ["fleet", "get"]
    settings = tmp_path / "pki/dashboard.toml"
    (tmp_path / "pki/clients").mkdir(parents=True)
    who = broker.authority.issue(OPERATOR)
    for file, name in (
        (who.ca, "ca.pem"),
        (who.certificate, "clients/dashboard.pem"),
        (who.key, "clients/dashboard.key"),
    ):
        shutil.copy(file, tmp_path / "pki" / name)
    settings.write_text(shown[1].replace("192.0.2.10", HOST) + f"\nport = {broker.port}\n")
    assert list(told(run(settings, "get", "--json", "plant/*"))["nodes"]) == [NODE]


def test_names_of_nodes_are_whole_in_a_narrow_terminal(fleet: Fleet, talk: Talk) -> None:
    names = ["plant/nano-1", "plant/a-node-with-a-long-name-1"]
    talk.leave(names, session=1_700_000)
    health = payloads()["health"]
    health["sources"]["door"] = {"status": "degraded", "code": "E_TIMEOUT"}
    talk.say(NODE, "health", health | {"status": "degraded"}, retain=True)
    done = fleet("get", *names, columns=80)
    lines = done.stdout.splitlines()
    assert {line.split("│")[1].strip() for line in lines if line.startswith("│")} == {*names, ""}
    assert max(map(len, lines)) <= 80


def test_what_cannot_be_read_is_left_out_and_told(fleet: Fleet, talk: Talk) -> None:
    talk.leave([NODE])
    talk.say(NODE, "info", b"\xff\x00", retain=True)
    talk.say(NODE, "alarms/crowd", b"[1]", retain=True)
    done = fleet("get", "--json", NODE)
    node = told(done)["nodes"][NODE]
    assert (node["info"], node["alarms"], node["state"]["state"]) == (None, {}, "online")
    assert done.stderr.startswith(
        "2 messages were left out, which could not be read; the last: edge/v1/plant/"
    )


def test_a_rollout_passes_its_gate(fleet: Fleet, talk: Talk, tmp_path: Path) -> None:
    talk.leave([NODE], session=1, agent="0.1.0")
    before = tmp_path / "before.json"
    before.write_text(fleet("get", "--json", NODE).stdout)
    gate = (
        *(NODE, "--newer-than", before, "--agent", "0.2.0", "--policy-version", 3, "--fresh-detection"),
        *("--max-error-rate", 0.1, "--max-temperature", 80, "--steady", 1, "--timeout", 30, "--json"),
    )
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(fleet, "wait-for", *gate)
        talk.say(NODE, "state", payloads(session=1, state="offline")["state"], retain=True)
        talk.leave([NODE], session=2)
        with talk.chatter([NODE], per_s=20, session=2):
            node = told(done.result())["nodes"][NODE]
    assert node["met"] is True
    assert node["after_s"] > 1
    assert node["conditions"]["session"] == {"met": True, "seen": 2, "wanted": ">1"}
    assert node["conditions"]["detection"]["seen"] == "2 of 2 sources"
    assert node["conditions"]["temperature"]["seen"] == 50.0


@pytest.mark.slow
def test_each_node_that_does_not_meet_it_says_why(fleet: Fleet, talk: Talk, tmp_path: Path) -> None:
    talk.leave([NODE, "plant/nano-2"], session=1)
    before = tmp_path / "before.json"
    before.write_text(fleet("get", "--json", NODE, "plant/nano-2").stdout)
    talk.leave([NODE], session=2)
    gate = (NODE, "plant/nano-2", "--newer-than", before, "--agent", "0.2.0", "--timeout", 2)
    done = fleet("wait-for", *gate)
    assert done.returncode == 1
    first, *rest = done.stdout.splitlines()
    assert first.startswith("plant/nano-1: met after ")
    assert rest == [
        "plant/nano-2: not met",
        "  session: 1 seen, >1 wanted",
        "  agent: 0.2.0 seen, 0.2.0 wanted (said before the session that is waited for)",
    ]
    assert done.stderr == "1 of 2 nodes met everything\n"
    nodes = told(fleet("wait-for", *gate, "--json"), code=1)["nodes"]
    assert [nodes[name]["met"] for name in (NODE, "plant/nano-2")] == [True, False]


def test_each_node_of_a_wave_has_conditions_of_its_own(fleet: Fleet, talk: Talk, tmp_path: Path) -> None:
    talk.leave([NODE], session=8, version=5)
    talk.leave(["plant/nano-2"], session=3, agent="0.1.9")
    wave = tmp_path / "wave.json"
    first = {"above_session": 7, "policy_at_least": 4, "sources": ["motor"], "max_temperature": 80}
    wave.write_text(json.dumps({NODE: first, "plant/nano-2": {"agent": "0.1.9"}}))
    with talk.chatter([NODE], per_s=20, session=8):
        done = fleet("wait-for", "--each", wave, "--agent", "0.2.0", "--timeout", 30, "--json")
    nodes = told(done)["nodes"]
    assert {name: list(node["conditions"]) for name, node in nodes.items()} == {
        NODE: ["online", "session", "agent", "policy", "detection", "temperature"],
        "plant/nano-2": ["online", "agent"],
    }
    assert nodes[NODE]["conditions"]["policy"] == {"met": True, "seen": "5 applied", "wanted": ">=4 applied"}
    assert nodes[NODE]["conditions"]["detection"]["seen"] == "1 of 1 sources"
    wave.write_text(json.dumps({NODE: first, "plant/nano-2": {"above_session": 3}}))
    gate = ("plant/nano-2", "plant/nano-3", "--each", wave, "--agent", "0.1.9", "--timeout", 1, "--json")
    nodes = told(fleet("wait-for", *gate), code=1)["nodes"]
    assert {name: list(node["conditions"]) for name, node in nodes.items()} == {
        "plant/nano-2": ["online", "session", "agent"],
        "plant/nano-3": ["online", "agent"],
    }


@pytest.mark.slow
def test_a_crash_loop_does_not_pass(fleet: Fleet, talk: Talk) -> None:
    talk.leave([NODE], session=1)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(fleet, "wait-for", NODE, "--steady", 2, "--timeout", 6, "--json")
        for session in range(2, 30):
            if done.done():
                break
            talk.leave([NODE], session=session)
            time.sleep(0.5)  # how long it lives
        conditions = told(done.result(), code=1)["nodes"][NODE]["conditions"]
    assert conditions["online"]["met"] is True
    assert conditions["steady"]["seen"] < 2


def test_drift_is_told_by_pointer(fleet: Fleet, talk: Talk, tmp_path: Path) -> None:
    talk.leave([NODE])
    (tmp_path / "same.yaml").write_text(POLICY)
    (tmp_path / "other.yaml").write_text(POLICY.replace("rate_hz: 5", "rate_hz: 8"))
    same = fleet("drift", f"{NODE}={tmp_path}/same.yaml")
    assert (same.returncode, same.stdout) == (0, "plant/nano-1: version 3 applied\n")
    other = fleet("drift", f"{NODE}={tmp_path}/other.yaml")
    assert other.returncode == 1
    assert other.stdout.splitlines()[1:] == [
        "  /sources/door/rate_hz: 8.0 wanted, 5.0 reported",
        (
            "  it would be refused: E_CONFLICT version 3 is in force with other content: "
            "raise the version with each change"
        ),
    ]
    assert told(fleet("drift", f"{NODE}={tmp_path}/other.yaml", "--json"), code=1)["drift"] is True


def test_set_policy_sends_nothing_if_one_document_is_wrong(
    fleet: Fleet, talk: Talk, broker: Mosquitto, tmp_path: Path
) -> None:
    talk.leave([NODE])
    (tmp_path / "good.yaml").write_text(POLICY)
    (tmp_path / "bad.yaml").write_text(POLICY.replace("rate_hz", "rate_hx"))
    done = fleet("set-policy", f"{NODE}={tmp_path}/good.yaml", f"plant/nano-2={tmp_path}/bad.yaml")
    assert done.returncode == os.EX_CONFIG
    assert "did you mean 'rate_hz'?" in done.stderr
    assert f"as {OPERATOR} " not in broker.log


def test_set_policy_that_is_in_force_already_changes_nothing(
    fleet: Fleet, talk: Talk, tmp_path: Path
) -> None:
    talk.leave([NODE])
    (tmp_path / "policy.yaml").write_text(POLICY)
    answered = told(fleet("set-policy", f"{NODE}={tmp_path}/policy.yaml", "--json"))
    node = answered["nodes"][NODE]
    assert (answered["applied"], node["status"], node["changed"]) == (True, "applied", False)


def test_set_policy_does_not_send_what_is_stale(
    fleet: Fleet, talk: Talk, broker: Mosquitto, tmp_path: Path
) -> None:
    talk.leave([NODE], version=4)
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = fleet("set-policy", f"{NODE}={tmp_path}/policy.yaml")
    assert (done.returncode, done.stdout.splitlines()) == (
        1,
        [
            "plant/nano-1: version 3 refused E_STALE /version",
            "  version 3 is below 4, which is in force: raise it with each change. It was not sent",
        ],
    )
    node = told(fleet("set-policy", f"{NODE}={tmp_path}/policy.yaml", "--json"), code=1)["nodes"][NODE]
    assert (node["code"], node["changed"]) == ("E_STALE", False)
    assert f"Received PUBLISH from {OPERATOR}" not in broker.log
    # After `nanofleet policy reset` at the node any version may come.
    talk.leave([NODE], version=4, attempts=[])
    done = fleet("set-policy", f"{NODE}={tmp_path}/policy.yaml", "--timeout", 1)
    assert f"Received PUBLISH from {OPERATOR}" in broker.log


def test_a_document_left_on_config_desired_is_drift_until_the_wanted_one_is_there(
    fleet: Fleet, talk: Talk, tmp_path: Path
) -> None:
    talk.leave([NODE])
    (tmp_path / "policy.yaml").write_text(POLICY)
    talk.say(NODE, "config/desired", {"v": 1, "version": 1, "policy": {}}, retain=True)
    wanted = f"{NODE}={tmp_path}/policy.yaml"
    drift = fleet("drift", wanted)
    assert (drift.returncode, drift.stdout) == (
        1,
        "plant/nano-1: drift: version 3 applied, 3 wanted; another document is on config/desired\n",
    )
    assert told(fleet("set-policy", wanted, "--json"))["applied"] is True
    assert fleet("drift", wanted).returncode == 0


def test_set_policy_without_the_right_to(broker: Mosquitto, talk: Talk, tmp_path: Path) -> None:
    talk.leave([NODE])
    (tmp_path / "policy.yaml").write_text(POLICY)
    settings = settings_of(tmp_path, broker, broker.authority.issue("nano-7"))
    done = run(settings, "set-policy", f"{NODE}={tmp_path}/policy.yaml", "--json", "--timeout", 2)
    node = told(done, code=1)["nodes"][NODE]
    assert node["status"] == "refused"
    assert node["message"] == "the broker refused it (0x87): it does not let us write there"


def test_set_policy_waits_in_vain_for_a_node_that_is_offline(
    fleet: Fleet, talk: Talk, tmp_path: Path
) -> None:
    talk.leave([NODE], state="offline", version=2, effective_sha256="0" * 64)
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = fleet("set-policy", f"{NODE}={tmp_path}/policy.yaml", "--timeout", 1)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "plant/nano-1: version 3 unanswered",
        "  it is offline; the policy waits for it at the broker",
    ]


def test_forget_clears_everything_of_nodes_that_are_gone(fleet: Fleet, talk: Talk) -> None:
    talk.leave([NODE], state="offline")
    talk.leave(["plant/nano-2"])
    for path in ("config/desired", "ack/detections/door", "alarms/crowd", "of/the/future"):
        talk.say(NODE, path, {"v": 1}, retain=True)
    done = fleet("forget", NODE, "plant/nano-2", "plant/nano-9")
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == [
        "plant/nano-1: 8 topics cleared",
        "plant/nano-2: it is online; stop it first, or clear it all the same with --force",
    ]
    assert done.stdout.splitlines()[-1] == "plant/nano-9: nothing was there"
    assert list(told(fleet("get", "--json", "plant/*"))["nodes"]) == ["plant/nano-2"]
    forced = told(fleet("forget", "--force", "plant/nano-2", "--json"))["nodes"]["plant/nano-2"]
    assert (forced["forgotten"], forced["left"], len(forced["cleared"])) == (True, [], 4)
    assert told(fleet("get", "--json", "plant/*"))["nodes"] == {}


def test_forget_without_the_right_to(broker: Mosquitto, tmp_path: Path, talk: Talk) -> None:
    """A node's own certificate lets it read its state, and clear nothing of another's."""
    talk.leave([NODE], state="offline")
    writer = broker.authority.issue("nano-1")
    node = told(run(settings_of(tmp_path, broker, writer), "forget", NODE, "--json"), code=0)
    assert node["nodes"][NODE]["cleared"] == ["state"]  # what it may not read it does not find


@pytest.mark.parametrize("command", ["get", "wait-for", "forget"])
def test_a_broker_out_of_reach_is_told_in_a_sentence(tmp_path: Path, command: str) -> None:
    settings = tmp_path / "me.toml"
    port = free_port()
    settings.write_text(f'[broker]\nhost = "{HOST}"\nport = {port}\nallow_insecure = true\n')
    done = run(settings, command, NODE)
    assert (done.returncode, done.stdout) == (os.EX_UNAVAILABLE, "")
    assert done.stderr == f"nanofleet fleet {command}: no connection to {HOST}:{port}: Connection refused\n"


def test_a_certificate_of_another_authority_is_told_in_a_sentence(broker: Mosquitto, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    done = run(settings_of(tmp_path, broker, other.issue("stranger")), "get", NODE)
    assert (done.returncode, done.stdout) == (os.EX_UNAVAILABLE, "")
    assert len(done.stderr.splitlines()) == 1
    assert "certificate" in done.stderr


def test_a_certificate_that_the_broker_does_not_accept(broker: Mosquitto, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other").issue("stranger").copied_to(tmp_path / "mixed")
    other.ca.write_bytes(broker.authority.ca.read_bytes())
    done = run(settings_of(tmp_path, broker, other), "get", NODE)
    assert done.returncode == os.EX_UNAVAILABLE
    assert len(done.stderr.splitlines()) == 1
    assert "certificate" in done.stderr


def test_another_client_with_our_certificate_is_told_by_name(fleet: Fleet, broker: Mosquitto) -> None:
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(fleet, "wait-for", NODE, "--timeout", 30)
        until_blocking(lambda: f"Sending SUBACK to {OPERATOR}" in broker.log)
        fleet("get", NODE)
        waited = done.result()
    assert waited.returncode == os.EX_UNAVAILABLE
    # Debian's mosquitto closes the connection without the reason that MQTT 5 has for it.
    assert f"another client came as '{OPERATOR}'" in waited.stderr or "came to" in waited.stderr
    assert "needs a certificate of its own" in waited.stderr
    assert len(waited.stderr.splitlines()) == 1


def test_a_broker_that_goes_while_nodes_are_watched(fleet: Fleet, broker: Mosquitto) -> None:
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(fleet, "wait-for", NODE, "--timeout", 30)
        until_blocking(lambda: f"Sending SUBACK to {OPERATOR}" in broker.log)
        broker.kill()
        assert done.result().returncode == os.EX_UNAVAILABLE
    assert done.result().stderr.startswith("nanofleet fleet wait-for: the connection to ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('site = "plant"\n', "there is no [broker] table"),
        ('[broker]\nhost = "b"\nprot = 1\n', "did you mean 'port'?"),
        ('[broker]\nhost = "b"\nca_file = "nowhere.pem"\n', "nowhere.pem cannot be read"),
        ("[broker\n", "this is not TOML"),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "me.toml").write_text(text)
    done = run(tmp_path / "me.toml", "get", NODE)
    assert done.returncode == os.EX_CONFIG
    assert says in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("get", "Plant/nano-1"), "names no node"),
        (("wait-for", "plant/*"), "here each is named"),
        (("wait-for",), "give SITE/NODE, or --each FILE"),
        (("wait-for", NODE, "--steady", 60, "--timeout", 60), "never fits into"),
        (("drift", NODE), "SITE/NODE=FILE is wanted"),
        (("drift", f"{NODE}=a", f"{NODE}=b"), "is given two files"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(
    tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    done = run(tmp_path / "nowhere.toml", *words)
    assert done.returncode == os.EX_USAGE
    assert says in " ".join(done.stderr.replace("│", " ").split())


def test_a_file_of_before_that_is_none(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "before.json").write_text("{}")
    done = fleet("wait-for", NODE, "--newer-than", tmp_path / "before.json")
    assert done.returncode == os.EX_DATAERR
    assert "it is not what `nanofleet fleet get --json` prints" in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "it is not JSON: EOF while parsing an object at line 1 column 1"),
        ("{}", "it names no node, and neither does the command"),
        ('{"plant/nano-1": {"agnet": "1"}}', f"{NODE}: 'agnet' is no condition; did you mean 'agent'?"),
    ],
)
def test_a_file_of_conditions_that_is_none(tmp_path: Path, text: str, says: str) -> None:
    wave = tmp_path / "wave.json"
    wave.write_text(text)
    done = run(tmp_path / "nowhere.toml", "wait-for", "--each", wave)
    assert (done.returncode, done.stdout) == (os.EX_DATAERR, "")
    assert done.stderr == f"nanofleet fleet wait-for: {wave}: {says}\n"


@pytest.mark.slow
def test_two_hundred_nodes_over_one_connection(fleet: Fleet, talk: Talk, tmp_path: Path) -> None:
    nodes = [f"plant/nano-{number}" for number in range(200)]
    talk.leave(nodes, session=1)
    before = tmp_path / "before.json"
    before.write_text(fleet("get", "--json", *nodes).stdout)
    known = json.loads(before.read_text())["nodes"]
    assert all(known[node][kind] for node in nodes for kind in ("state", "info", "health", "config"))
    assert sorted(told(fleet("get", "--json", "plant/*"))["nodes"]) == sorted(nodes)
    late = nodes[7]
    talk.leave([node for node in nodes if node != late], session=2)
    with talk.chatter(nodes, per_s=2, session=2):
        gate = ("--newer-than", before, "--fresh-detection", "--max-temperature", 80, "--steady", 1)
        verdicts = told(fleet("wait-for", *nodes, *gate, "--timeout", 12, "--json"), code=1)["nodes"]
    assert [node for node, verdict in verdicts.items() if not verdict["met"]] == [late]


def test_what_is_heard_of_others_is_not_asked_for(fleet: Fleet, talk: Talk, broker: Mosquitto) -> None:
    talk.leave([NODE, "plant/nano-2"])
    talk.say("plant/nano-2", "detections/door", detections())
    fleet("wait-for", NODE, "--fresh-detection", "--timeout", 1)
    assert f"{OPERATOR} 1 edge/v1/plant/nano-1/state" in broker.log
    # At QoS 0: a flood of detections takes no room in the broker from what is retained.
    assert f"{OPERATOR} 0 edge/v1/plant/nano-1/detections/+" in broker.log
    assert "plant/nano-2" not in "".join(line for line in broker.log.splitlines() if OPERATOR in line)


def test_what_a_node_says_does_not_steer_the_terminal(fleet: Fleet, talk: Talk) -> None:
    talk.leave([NODE], agent="0.2.0\x1b[2J\x9b[bold]")
    assert "0.2.0?[2J?[bold]" in fleet("get", NODE).stdout
    assert "agent: 0.2.0?[2J?[bold] seen" in fleet("wait-for", NODE, "--agent", "1", "--timeout", 1).stdout
