"""docs/jetson.md shows the matrix of the role's preflight, which follows from what the wheels ask for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.tiny_wheels import make_wheel
from tools.release.making import NO_GPU_WHEEL
from tools.release.targets import GLIBC, native
from tools.release.wheelhouse import Wheelhouse
from tools.release.wheels import read_wheel

REPOSITORY: Final = Path(__file__).parents[2]
DOCUMENT: Final = (REPOSITORY / "docs" / "jetson.md").read_text(encoding="utf-8")
MATRIX: Final[list[dict[str, Any]]] = yaml.safe_load(
    (REPOSITORY / "deploy/ansible/roles/agent/vars/jetson.yml").read_text(encoding="utf-8")
)["nanofleet_jetson_matrix"]
COLUMNS: Final = (
    *("jetpack", "l4t", "boards", "os", "glibc", "python", "systemd", "how", "interpreter", "onnxruntime"),
    "tested",
)

each_row = pytest.mark.parametrize("row", MATRIX, ids=lambda row: f"L4T {row['l4t']}")


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def as_line(row: dict[str, Any]) -> str:
    cells = [", ".join(row[name]) if isinstance(row[name], list) else str(row[name]) for name in COLUMNS]
    return f"| {' | '.join(cells)} |"


def test_document_shows_the_matrix_of_the_role() -> None:
    shown = re.search(r"^\| JetPack \|.*?\n\|[-:|]+\|\n(.*?)\n\n", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert shown[1].splitlines() == [as_line(row) for row in MATRIX]


def test_matrix_names_each_release_once() -> None:
    numbers = [row["l4t"] for row in MATRIX]
    assert numbers == sorted(set(numbers))


@each_row
def test_row_says_all_and_nothing_else(row: dict[str, Any]) -> None:
    assert set(row) == set(COLUMNS)
    assert row["how"] in {"native", "container"}
    assert row["tested"] == "never"
    assert set(row["onnxruntime"]) <= {"cpu", "wheel"}  # `gpu` is for x86-64


@each_row
def test_row_follows_from_glibc_and_python(row: dict[str, Any]) -> None:
    assert (row["how"] == "native") is (version(row["glibc"]) >= (2, GLIBC))
    own = version(row["python"]) >= (3, 11)
    assert row["interpreter"] == ("image" if row["how"] == "container" else "system" if own else "private")


def test_releases_send_whoever_wants_a_gpu_here() -> None:
    assert "docs/jetson.md" in NO_GPU_WHEEL


AGENT: Final = {
    "agent.py": "import sys\nimport numpy, onnxruntime\n\ndef main():\n    print('agent', *sys.argv[1:])\n",
    "nanofleet-1.0.dist-info/entry_points.txt": "[console_scripts]\nnanofleet = agent:main\n",
}
# The pip of .venv-release, under another name: it is installed there, and no wheel of it is at hand.
PIP: Final = "import os, sys\nos.execv(sys.executable, [sys.executable, {pip!r}, *sys.argv[1:]])\n"


def container_recipe() -> list[tuple[str, str]]:
    """The instructions of the document's Dockerfile, each with what follows it, in their order."""
    shown = re.search(r"^```text\n(FROM .*?)```", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert shown is not None
    lines = shown[1].replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def make_release(folder: Path) -> None:
    """As far as a container needs it: an archive for this machine, and an agent that tells its arguments."""
    pip = next((REPOSITORY / ".venv-release").glob("lib/python3.*/site-packages/pip"))
    wheels = folder / "wheels"
    wheels.mkdir()
    for name in ("numpy", "onnxruntime"):
        make_wheel(wheels, name)
    make_wheel(wheels, "pip", files={"pip/__main__.py": PIP.format(pip=str(pip))})
    make_wheel(folder, "nanofleet", requires=("numpy", "onnxruntime"), files=AGENT)
    numpy, onnxruntime, own_pip = (read_wheel(path) for path in sorted(wheels.iterdir()))
    Wheelhouse(native(), pip=own_pip, base=[numpy], cpu=[onnxruntime]).write(folder)


@pytest.mark.release
def test_commands_of_the_container_end_in_an_agent_that_starts(tmp_path: Path) -> None:
    make_release(tmp_path)
    places = {"/wheelhouse": tmp_path / "wheelhouse", "/opt/nanofleet": tmp_path / "opt"}

    def here(words: str) -> str:
        for place, path in places.items():
            words = words.replace(place, str(path))
        return words.replace("cp311-aarch64", native().name)

    said = ""
    for instruction, rest in container_recipe():
        match instruction:
            case "ADD":
                archive, folder = here(rest).split()
                Path(folder).mkdir()
                said = _run(f"tar -xf {archive} -C {folder}", folder=tmp_path)
            case "COPY":
                said = _run(f"cp {here(rest)}", folder=tmp_path)
            case "RUN" if "apt-get" not in rest:
                said = _run(here(rest), folder=tmp_path)
            case "ENTRYPOINT":
                said = _run(" ".join(json.loads(here(rest))), folder=tmp_path)
    assert said == "agent run\n"
    assert not places["/wheelhouse"].exists()


def _run(command: str, *, folder: Path) -> str:
    """In a shell as Docker takes it, with this Python as the system's and nothing of pip's configuration."""
    path = f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "PIP_CONFIG_FILE": "/dev/null"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout
