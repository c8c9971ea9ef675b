"""`nanofleet check` as a process: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest

COMMAND: Final = Path(sys.executable).with_name("nanofleet")
SETTINGS: Final = 'site = "plant"\nnode = "nano-42"\nmedia_root = "media"\n[broker]\nhost = "broker"\n'
POLICY: Final = (
    "version: 7\npolicy:\n  models: {people: {file: people.onnx}}\n"
    "  sources: {door: {kind: synthetic, model: people}}\n  rules: {crowd: {when: 'true'}}\n"
)


def check(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "check", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agent.toml").write_text(SETTINGS)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "people.onnx").write_bytes(b"a model")
    return tmp_path


BOTH: Final = ("--settings", "agent.toml", "--policy", "policy.yaml")


def test_check_refuses_what_no_memory_of_this_machine_would_hold(folder: Path) -> None:
    with (folder / "media" / "people.onnx").open("r+b") as model:
        model.truncate(1 << 42)  # a hole: no block of the disk is taken
    done = check(folder, *BOTH, "--json")
    assert done.returncode == os.EX_CONFIG
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["path"], problem["code"]) == ("policy.models", "E_SPACE")
    assert "a smaller model" in problem["message"]


def test_check_tells_what_would_run_and_what_would_not(folder: Path) -> None:
    done = check(folder, *BOTH)
    assert (done.returncode, done.stderr) == (0, "")
    assert "node     nano-42 of site plant\n" in done.stdout
    assert "broker   mqtts://broker:8883\n" in done.stdout
    assert "model    people: people.onnx on cpu\n" in done.stdout
    assert "source   door: synthetic, model people\n" in done.stdout
    assert "memory   about " in done.stdout
    assert "rule     crowd: info when true\n" in done.stdout
    assert "warning: allowed_hosts is empty" in done.stdout


def test_check_prints_every_problem_of_both_files_and_exits_78(folder: Path) -> None:
    (folder / "agent.toml").write_text(SETTINGS.replace("plant", "Plant") + "prot = 1\n")
    (folder / "policy.yaml").write_text(POLICY.replace("model: people", "model: peple"))
    done = check(folder, *BOTH)
    assert (done.returncode, done.stderr) == (78, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("agent.toml:1: site: 'Plant' is no name;")
    assert "agent.toml:6: broker.prot: there is no key 'prot' here" in lines
    assert "    did you mean 'port'?" in lines
    assert "policy.yaml:4: policy.sources.door.model: this policy has no model 'peple'" in lines
    assert lines[-1] == "3 problems"


def test_check_warns_of_a_shadow_that_is_not_there_and_does_not_refuse_the_node_for_it(folder: Path) -> None:
    policy = POLICY.replace("people.onnx}}", "people.onnx}, next: {file: next.onnx}}")
    (folder / "policy.yaml").write_text(
        policy.replace("model: people}", "model: people, shadow: {model: next}}")
    )
    done = check(folder, *BOTH)
    assert (done.returncode, done.stderr) == (0, "")
    assert "warning: policy.models.next.file: there is no file, or model package, at " in done.stdout
    assert "[E_FILE]; nothing looks over a shoulder with it" in done.stdout


def test_check_holds_the_policy_against_settings_whose_files_are_missing(folder: Path) -> None:
    (folder / "agent.toml").write_text(SETTINGS + 'ca_file = "ca.pem"\n')
    (folder / "media" / "people.onnx").unlink()
    done = check(folder, *BOTH)
    assert done.returncode == 78
    assert "agent.toml:6: broker.ca_file: there is no file" in done.stdout
    assert "policy.yaml:3: policy.models.people.file: there is no file" in done.stdout


def test_check_tells_of_files_that_the_system_does_not_let_it_look_at(folder: Path) -> None:
    # As behind a folder that is closed to this user, but for root too.
    unreachable = "x" * 300
    state_dir, ca_file = (f'{key} = "{unreachable}"\n' for key in ("state_dir", "ca_file"))
    (folder / "agent.toml").write_text(state_dir + SETTINGS + ca_file)
    (folder / "policy.yaml").write_text(POLICY.replace("people.onnx", unreachable))
    done = check(folder, *BOTH)
    assert (done.returncode, done.stderr) == (78, "")
    assert "broker.ca_file: " in done.stdout
    assert "policy.models.people.file: " in done.stdout
    assert "state_dir: " in done.stdout
    assert done.stdout.count("File name too long") == 3


def test_check_for_another_machine_looks_for_no_files(folder: Path) -> None:
    (folder / "agent.toml").write_text(SETTINGS + 'ca_file = "ca.pem"\n')
    (folder / "media" / "people.onnx").unlink()
    assert check(folder, *BOTH, "--no-files").returncode == 0


def test_check_finds_a_certificate_that_is_none(folder: Path) -> None:
    (folder / "agent.toml").write_text(SETTINGS + 'ca_file = "ca.pem"\n')
    (folder / "ca.pem").write_text("no certificate\n")
    done = check(folder, *BOTH)
    assert done.returncode == 78
    assert "ca.pem" in done.stdout


def test_check_tells_it_as_json(folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace("synthetic", "sinthetic"))
    done = check(folder, *BOTH, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 78
    assert told["ok"] is False
    assert told["policy"] is None
    assert told["settings"]["node"] == "nano-42"
    (problem,) = told["problems"]
    assert problem["file"] == "policy.yaml"
    assert (problem["line"], problem["pointer"], problem["code"]) == (
        4,
        "/policy/sources/door/kind",
        "E_SCHEMA",
    )


def test_check_reads_variables_and_the_policy_that_settings_name(folder: Path) -> None:
    done = check(
        folder, "--settings", "agent.toml", NANOFLEET_POLICY_FILE="policy.yaml", NANOFLEET_NODE="n-7"
    )
    assert done.returncode == 0
    assert "node     n-7 of site plant" in done.stdout
    wrong = check(folder, *BOTH, NANOFLEET_BROKER_HOST="x")
    assert wrong.returncode == 78
    assert "$NANOFLEET_BROKER_HOST: there is no setting 'broker_host'" in wrong.stdout


def test_check_of_files_that_are_not_there_tells_both(folder: Path) -> None:
    done = check(folder, "--settings", "a.toml", "--policy", "b.yaml", "--json")
    told = json.loads(done.stdout)
    assert [problem["file"] for problem in told["problems"]] == ["a.toml", "b.yaml"]
    assert told["settings"] is None


def test_check_refuses_a_package_that_a_run_would_refuse(folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace("people.onnx", "people.zip"))
    with zipfile.ZipFile(folder / "media" / "people.zip", "w") as archive:
        archive.writestr("model.yaml", "name: people\nversion: '1'\nlicence: MIT\n")
        archive.writestr("model.onnx", "a model")
    assert check(folder, *BOTH).returncode == 0
    with zipfile.ZipFile(folder / "media" / "people.zip", "a") as archive:
        archive.writestr("../evil", "")
    done = check(folder, *BOTH, "--json")
    assert done.returncode == os.EX_CONFIG
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["path"], problem["code"]) == ("policy.models.people.file", "E_FILE")
    assert "does not belong into a package" in problem["message"]


def test_check_refuses_a_model_of_another_hash_and_a_provider_that_is_not_there(folder: Path) -> None:
    stanza = f"{{file: people.onnx, sha256: '{'0' * 64}', provider: migraphx, strict_provider: true}}"
    (folder / "policy.yaml").write_text(POLICY.replace("{file: people.onnx}", stanza))
    done = check(folder, *BOTH, "--json")
    assert done.returncode == os.EX_CONFIG
    problems = json.loads(done.stdout)["problems"]
    assert [(each["path"], each["code"]) for each in problems] == [
        ("policy.models.people.sha256", "E_HASH"),
        ("policy.models.people.provider", "E_PROVIDER"),
    ]


def test_check_warns_of_a_provider_that_another_would_stand_in_for(folder: Path) -> None:
    stanza = "{file: people.onnx, provider: migraphx}"
    (folder / "policy.yaml").write_text(POLICY.replace("{file: people.onnx}", stanza))
    done = check(folder, *BOTH)
    assert done.returncode == 0
    assert "warning: model people would run on another provider than migraphx: " in done.stdout
