"""The preflight of the role `agent`: whom it takes, whom it refuses, and what it says would be right.

Ansible runs it here, once for all: each host of the inventory is this machine, answering as another one.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.fleet.playing import Said, refusals, run_plays
from tests.fleet.roles import read

# Two minutes on two cores: nearly fifty machines, each asked by Ansible.
pytestmark = [pytest.mark.ansible, pytest.mark.slow, pytest.mark.timeout(600)]

MATRIX: Final[list[dict[str, Any]]] = read("agent", "vars/jetson.yml")["nanofleet_jetson_matrix"]
BOARDS: Final = {row["l4t"]: row for row in MATRIX}
GPU: Final = ["char-nvidia*"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine answers when it is asked, and what the inventory says of it."""

    inventory: Mapping[str, Any] = field(default_factory=dict)
    processor: str = "x86_64"
    init: str = "systemd"
    glibc: str = "2.36"
    systemd: int | None = 252
    python: str | None = "3.11"
    l4t: int | None = None
    runs: str | None = None
    release: str = "plain"


def jetson(l4t: int, *, python: str | None = None, private: bool = True, **inventory: Any) -> Machine:
    """A Jetson as the matrix has it, or with another Python than that; with a private one at hand or not."""
    row = BOARDS[l4t]
    return Machine(
        inventory=inventory | ({"nanofleet_python_archive": "PRIVATE"} if private else {}),
        processor="aarch64",
        glibc=row["glibc"],
        systemd=row["systemd"],
        python=python or row["python"],
        l4t=l4t,
    )


def wheel(name: str) -> str:
    return f"WHEELS/{name}.whl"


TAKEN: Final[dict[str, tuple[Machine, str, str]]] = {
    "debian": (Machine(), "system", "cp311-x86_64"),
    "oldest-glibc": (Machine(glibc="2.28"), "system", "cp311-x86_64"),
    "old-python": (
        Machine(python="3.9", inventory={"nanofleet_python_archive": "PRIVATE"}),
        "private",
        "cp311-x86_64",
    ),
    "no-python": (
        Machine(python=None, inventory={"nanofleet_python_archive": "PRIVATE"}),
        "private",
        "cp311-x86_64",
    ),
    "private-by-wish": (
        Machine(
            python="3.12", inventory={"nanofleet_python": "private", "nanofleet_python_archive": "PRIVATE"}
        ),
        "private",
        "cp311-x86_64",
    ),
    "gpu": (
        Machine(release="gpu", inventory={"nanofleet_onnxruntime": "gpu", "nanofleet_devices": GPU}),
        "system",
        "cp311-x86_64",
    ),
    "same-release": (Machine(runs="1.0"), "system", "cp311-x86_64"),
    "other-release-by-wish": (
        Machine(runs="0.9", inventory={"nanofleet_change_release": True}),
        "system",
        "cp311-x86_64",
    ),
    "accepted-findings": (Machine(release="accepted"), "system", "cp311-x86_64"),
    "variable-of-its-own": (
        Machine(inventory={"nanofleet_camera_network": "192.0.2.0/24"}),
        "system",
        "cp311-x86_64",
    ),
    "unaudited-by-wish": (
        Machine(release="unknown", inventory={"nanofleet_accept_unaudited": True}),
        "system",
        "cp311-x86_64",
    ),
    **{
        f"l4t-{row['l4t']}": (
            jetson(row["l4t"], private=row["interpreter"] == "private"),
            row["interpreter"],
            "cp311-aarch64" if row["interpreter"] == "private" else "cp312-aarch64",
        )
        for row in MATRIX
        if row["how"] == "native"
    },
    "l4t-36-own-wheel": (
        jetson(
            36,
            nanofleet_onnxruntime=wheel("onnxruntime_gpu-1.23.0-cp311-cp311-linux_aarch64"),
            nanofleet_devices=["/dev/nvmap"],
        ),
        "private",
        "cp311-aarch64",
    ),
    "l4t-36-other-python": (jetson(36, python="3.11"), "private", "cp311-aarch64"),
    "l4t-36-system-by-wish": (
        jetson(36, python="3.12", nanofleet_python="system"),
        "system",
        "cp312-aarch64",
    ),
}
"""By name: the machine, its interpreter, and what of the release it takes."""

REFUSED: Final[dict[str, tuple[Machine, tuple[str, ...]]]] = {
    "jetpack-4": (jetson(32), ("runs L4T 32 (JetPack 4)", "in a container only", "35, 36, 38, 39")),
    "unknown-jetpack": (Machine(l4t=34), ("runs L4T 34", "nothing is known", "docs/jetson.md")),
    "jetpack-5-own-wheel": (
        jetson(35, nanofleet_onnxruntime=wheel("onnxruntime_gpu-1.23.0-cp311-cp311-linux_aarch64")),
        ("on JetPack 5 nanofleet_onnxruntime may be cpu, and is",),
    ),
    "jetpack-6-gpu": (jetson(36, nanofleet_onnxruntime="gpu"), ("may be cpu or wheel, and is gpu",)),
    "jetpack-6-without-archive": (jetson(36, private=False), ("has Python 3.10", "nanofleet_python_archive")),
    "nearly-right-name": (
        Machine(inventory={"nanofleet_onxruntime": "gpu"}),
        ("nanofleet_onxruntime is no variable; did you mean nanofleet_onnxruntime?",),
    ),
    "word-for-a-list": (
        Machine(inventory={"nanofleet_devices": "char-nvidia*, /dev/nvmap"}),
        ("nanofleet_devices is a list", """-e '{"nanofleet_devices": ["char-nvidia*", "/dev/nvmap"]}'"""),
    ),
    "word-for-a-dict": (
        Machine(inventory={"nanofleet_secrets": "{'door': {'password': 'x'}}"}),
        ("nanofleet_secrets is a dict, and was given as a string: -e '{\"nanofleet_secrets\": {…}}'",),
    ),
    "old-glibc": (Machine(glibc="2.27"), ("glibc 2.27", "wanted are", "glibc 2.28 or newer")),
    "no-glibc": (Machine(glibc=""), ("glibc 0;", "glibc 2.28 or newer")),
    "no-systemd": (Machine(init="sysvinit", systemd=None), ("with sysvinit", "wanted are")),
    "riscv": (Machine(processor="riscv64"), ("Linux on riscv64", "x86_64 or aarch64")),
    "old-python": (Machine(python="3.9"), ("has Python 3.9", "3.11 or newer", "nanofleet_python_archive")),
    "no-python": (Machine(python=None), ("has Python none", "nanofleet_python_archive")),
    "no-checksum": (
        Machine(
            python="3.9",
            inventory={"nanofleet_python_archive": "PRIVATE", "nanofleet_python_sha256": "unknown"},
        ),
        ("its nanofleet_python_sha256",),
    ),
    "old-python-by-wish": (
        Machine(python="3.9", inventory={"nanofleet_python": "system"}),
        ("nanofleet_python is system", "set nanofleet_python to private"),
    ),
    "new-python": (
        Machine(python="3.13"),
        ("has wheels for cp311-aarch64, cp311-x86_64", 'make release ARGS="--target cp313-x86_64"'),
    ),
    "wheel-of-another-python": (
        Machine(inventory={"nanofleet_onnxruntime": wheel("onnxruntime-1.23.0-cp310-cp310-linux_x86_64")}),
        ("is no wheel for cp311-x86_64", "has -cp311- and ends with _x86_64.whl"),
    ),
    "wheel-of-another-processor": (
        Machine(
            inventory={"nanofleet_onnxruntime": wheel("onnxruntime_gpu-1.23.0-cp311-cp311-linux_aarch64")}
        ),
        ("is no wheel for cp311-x86_64",),
    ),
    "wheel-that-is-not-there": (
        Machine(inventory={"nanofleet_onnxruntime": wheel("onnxruntime-9-cp311-cp311-linux_x86_64")}),
        ("a file of the controller is wanted",),
    ),
    "gpu-that-the-release-lacks": (
        Machine(inventory={"nanofleet_onnxruntime": "gpu", "nanofleet_devices": GPU}),
        (
            "release 1.0 has ONNX Runtime for cp311-x86_64 as cpu alone",
            'make release ARGS="--onnxruntime gpu --target cp311-x86_64"',
        ),
    ),
    "gpu-for-a-server-of-arm": (
        Machine(
            processor="aarch64",
            release="gpu",
            inventory={"nanofleet_onnxruntime": "gpu", "nanofleet_devices": GPU},
        ),
        ("has ONNX Runtime for cp311-aarch64 as cpu alone", "a wheel of your own (docs/jetson.md)"),
    ),
    "gpu-without-devices": (
        Machine(release="gpu", inventory={"nanofleet_onnxruntime": "gpu"}),
        ("nanofleet_devices of", "is empty", "char-nvidia*"),
    ),
    "own-gpu-without-devices": (
        jetson(36, nanofleet_onnxruntime=wheel("onnxruntime_gpu-1.23.0-cp311-cp311-linux_aarch64")),
        ("nanofleet_onnxruntime is onnxruntime_gpu-1.23.0", "is empty"),
    ),
    "no-release": (Machine(release="nowhere"), ("there is no release in", "make release")),
    "another-release": (Machine(runs="0.9"), ("runs 0.9", "is 1.0", "rollout.yml")),
    "tampered-archive": (
        Machine(release="tampered"),
        ("wheelhouse-cp311-x86_64.tar is not what release.json says",),
    ),
    "lost-wheel": (Machine(release="lost"), ("nanofleet-1.0-py3-none-any.whl is missing: make",)),
    "found-by-the-audit": (
        Machine(release="found"),
        ("the audit of release 1.0 says found", "see audit.json"),
    ),
    "not-audited": (Machine(release="unknown"), ("says unknown", "nanofleet_accept_unaudited")),
}
"""By name: the machine, and what the refusal has to say."""

MACHINES: Final = {f"taken-{name}": machine for name, (machine, *_) in TAKEN.items()} | {
    f"refused-{name}": machine for name, (machine, _) in REFUSED.items()
}


def make_release(folder: Path, *, builds: Mapping[str, list[str]], audit: str = "clean") -> None:
    """A release as far as preflight looks at it."""
    folder.mkdir(parents=True)
    own = "nanofleet-1.0-py3-none-any.whl"
    archives = {name: f"wheelhouse-{name}.tar" for name in builds}
    for name in (own, *archives.values()):
        (folder / name).write_text(f"{folder.name}: {name}")
    (folder / "audit.json").write_text(json.dumps({"result": audit}))
    document = {
        "version": "1.0",
        "wheel": own,
        "files": {
            path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in folder.iterdir()
        },
        "targets": {
            name: {"archive": archive, "onnxruntime": builds[name]} for name, archive in archives.items()
        },
    }
    (folder / "release.json").write_text(json.dumps(document))


def make_releases(folder: Path) -> None:
    cpu = {name: ["cpu"] for name in ("cp311-aarch64", "cp311-x86_64", "cp312-aarch64", "cp312-x86_64")}
    for name in ("plain", "tampered", "lost"):
        make_release(folder / name, builds=cpu)
    make_release(folder / "gpu", builds=cpu | {"cp311-x86_64": ["cpu", "gpu"]})
    for audit in ("accepted", "unknown", "found"):
        make_release(folder / audit, builds=cpu, audit=audit)
    with (folder / "tampered/wheelhouse-cp311-x86_64.tar").open("a") as archive:
        archive.write("and more")
    (folder / "lost/nanofleet-1.0-py3-none-any.whl").unlink()


def make_machine(folder: Path, machine: Machine) -> None:
    """Its commands, its release file and its link, each where the play finds them."""
    commands = folder / "bin"
    commands.mkdir(parents=True)
    answers = {
        "getconf": f"glibc {machine.glibc}" if machine.glibc else None,
        "systemctl": f"systemd {machine.systemd} (of a test)\n+PAM +AUDIT" if machine.systemd else None,
        "python3": machine.python,
    }
    for name, answer in answers.items():
        command = folder / name if name == "python3" else commands / name
        command.write_text(f"#!/bin/sh\necho '{answer}'\n" if answer else "#!/bin/sh\nexit 1\n")
        command.chmod(0o755)
    # As in /usr/local/bin, where it comes before the system's.
    another = commands / "python3"
    another.write_text("#!/bin/sh\necho 3.14\n")
    another.chmod(0o755)
    if machine.l4t is not None:
        (folder / "nv_tegra_release").write_text(
            f"# R{machine.l4t} (release), REVISION: 4.3, EABI: aarch64\n# KERNEL_VARIANT: oot\n"
        )
    if machine.runs is not None:
        (folder / "current").symlink_to(f"releases/{machine.runs}")


def inventory_of(folder: Path, *, private: Path) -> dict[str, Any]:
    digest = hashlib.sha256(private.read_bytes()).hexdigest()
    hosts = {}
    for name, machine in MACHINES.items():
        make_machine(folder / name, machine)
        said = {
            "nanofleet_release_dir": str(folder / "releases" / machine.release),
            "nanofleet_python_sha256": digest,
            **machine.inventory,
        }
        for key in ("nanofleet_python_archive", "nanofleet_onnxruntime"):
            if key in said:
                said[key] = said[key].replace("PRIVATE", str(private)).replace("WHEELS", str(folder))
        answers = {"processor": machine.processor, "init": machine.init, "machine": str(folder / name)}
        hosts[name] = said | answers
    return {"all": {"hosts": hosts, "vars": {"ansible_connection": "local"}}}


PLAY: Final = """
- hosts: all
  gather_facts: false
  environment:
    PATH: "{{ machine }}/bin:/usr/bin:/bin"
  tasks:
    - name: Answer as this machine
      ansible.builtin.set_fact:
        cacheable: true
        ansible_system: Linux
        ansible_architecture: "{{ processor }}"
        ansible_service_mgr: "{{ init }}"
        ansible_memtotal_mb: 4000
    - name: Look
      ansible.builtin.include_role:
        name: agent
        tasks_from: preflight
    - name: Tell
      ansible.builtin.debug:
        msg:
          - "{{ 'private' if __nanofleet_private else 'system' }}"
          - "{{ __nanofleet_target }}"
          - "{{ __nanofleet_interpreter }}"
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[Said]:
    """What preflight said of all machines."""
    folder = tmp_path_factory.mktemp("preflight")
    make_releases(folder / "releases")
    for name in (
        "onnxruntime-1.23.0-cp310-cp310-linux_x86_64",
        "onnxruntime_gpu-1.23.0-cp311-cp311-linux_aarch64",
    ):
        (folder / f"{name}.whl").touch()
    (folder / "python3.11").touch()
    with tarfile.open(folder / "private.tar", "w") as archive:
        archive.add(folder / "python3.11", "python/bin/python3.11")
    return run_plays(
        yaml.safe_load(PLAY),
        folder=folder,
        inventory=inventory_of(folder, private=folder / "private.tar"),
        variables={
            "__nanofleet_tegra_file": "{{ machine }}/nv_tegra_release",
            "__nanofleet_system_interpreter": "{{ machine }}/python3",
            "__nanofleet_home": "{{ machine }}",
            "__nanofleet_cache": str(folder / "cache"),
        },
    )


@pytest.mark.parametrize("name", TAKEN)
def test_machine_is_taken_with_the_interpreter_and_the_wheels_that_suit_it(
    name: str, said: list[Said]
) -> None:
    _, interpreter, target = TAKEN[name]
    host = f"taken-{name}"
    assert refusals(said).get(host) is None
    [told] = [one for one in said if one.host == host and one.task == "Tell"]
    assert told.result["msg"][:2] == [interpreter, target]
    assert told.result["msg"][2].endswith(f"/{host}/python3") == (interpreter == "system")


@pytest.mark.parametrize("name", REFUSED)
def test_machine_is_refused_and_told_what_would_be_right(name: str, said: list[Said]) -> None:
    refusal = refusals(said).get(f"refused-{name}", "")
    for words in REFUSED[name][1]:
        assert words in refusal


def test_board_that_is_not_as_the_matrix_has_it_is_told_of_and_taken(said: list[Said]) -> None:
    told = {
        one.host: " ".join(one.result["msg"].split())
        for one in said
        if "not as the matrix" in one.task and not one.result.get("skipped")
    }
    assert set(told) == {"taken-l4t-36-other-python", "taken-l4t-36-system-by-wish"}
    assert told["taken-l4t-36-other-python"] == (
        "taken-l4t-36-other-python has glibc 2.35, Python 3.11, systemd 249; "
        "docs/jetson.md says glibc 2.35, Python 3.10, systemd 249 of JetPack 6"
    )


def test_each_file_of_a_release_is_read_once_for_all_nodes(said: list[Said]) -> None:
    [hashed] = [one for one in said if one.task.endswith("Take the hash of each")]
    files = [one["item"] for one in hashed.result["results"]]
    assert len(files) == len(set(files))
    assert any(file.endswith("plain/wheelhouse-cp311-x86_64.tar") for file in files)
