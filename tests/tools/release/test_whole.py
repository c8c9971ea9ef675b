"""A whole release of a small project: a folder of wheels in place of an index, up to its installation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from referencing import Registry, Resource

from tests.advisory_service import JINJA_ADVISORY, AdvisoryService
from tests.tiny_wheels import make_wheel
from tools.release.building import commit_of
from tools.release.command import main
from tools.release.making import Wanted, make
from tools.release.programs import REPOSITORY, ReleaseError
from tools.release.targets import Target, native

pytestmark = pytest.mark.release

PROJECT: Final = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "nanofleet"
version = "{version}"
requires-python = ">=3.11"
license = "Apache-2.0"
dependencies = ["jinja2"]
[project.scripts]
nanofleet = "agent:main"
[tool.hatch.build.targets.wheel]
packages = ["agent"]
"""
# The pip of .venv-release, under another name: it is installed there, and no wheel of it is at hand.
PIP: Final = """\
import os, sys
os.execv(sys.executable, [sys.executable, {pip!r}, *sys.argv[1:]])
"""


class Workshop:
    """A source tree, an index that is a folder, and what makes releases of them."""

    def __init__(self, folder: Path, service: AdvisoryService) -> None:
        self.folder, self.service = folder, service
        self.index, self.source = folder / "index", folder / "source"
        for path in (self.index, self.source / "agent", self.source / "requirements"):
            path.mkdir(parents=True)
        self.set_version("1.0")
        jinja = make_wheel(self.index, "jinja2", "2.10")
        runtime = make_wheel(self.index, "onnxruntime")
        joserfc = make_wheel(self.index, "joserfc")
        pip = next((REPOSITORY / ".venv-release").glob("lib/python3.*/site-packages/pip"))
        self.pip = make_wheel(self.index, "pip", files={"pip/__main__.py": PIP.format(pip=str(pip))})
        requirements = self.source / "requirements"
        (requirements / "run-cpu.txt").write_text(jinja + runtime)
        (requirements / "run-signed.txt").write_text(jinja + joserfc)
        (folder / "tools.txt").write_text(self.pip)

    def set_version(self, version: str, *, says: str | None = None) -> None:
        (self.source / "pyproject.toml").write_text(PROJECT.format(version=version))
        (self.source / "agent" / "__init__.py").write_text(
            f"import jinja2, onnxruntime, joserfc\ndef main():\n    print({says or version!r})\n"
        )

    def make(
        self,
        *,
        out: str = "out",
        accepted: Mapping[str, str] | None = None,
        advisories: str | None = None,
        unaudited: bool = False,
        targets: tuple[Target, ...] | None = None,
        told: list[str] | None = None,
    ) -> Path:
        lines = [] if told is None else told
        made = make(
            Wanted(
                source=self.source,
                out=self.folder / out,
                targets=targets or (native(),),
                advisories=advisories or self.service.url,
                accepted=accepted or {},
                unaudited=unaudited,
                work=self.folder / "work",
                tools_lock=self.folder / "tools.txt",
            ),
            tell=lines.append,
        )
        return Path(made["folder"])


@contextmanager
def open_workshop(folder: Path) -> Iterator[Workshop]:
    with pytest.MonkeyPatch.context() as patch, AdvisoryService({}) as service:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(folder / "index"))
        patch.setenv("PIP_CONFIG_FILE", "/dev/null")
        patch.setenv("SOURCE_DATE_EPOCH", "1800000000")
        yield Workshop(folder, service)


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    with open_workshop(tmp_path) as workshop:
        yield workshop


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workshop, Path]]:
    """A workshop, and the release that was made in it."""
    with open_workshop(tmp_path_factory.mktemp("released")) as workshop:
        yield workshop, workshop.make()


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.slow
def test_release_describes_each_of_its_files(released: tuple[Workshop, Path]) -> None:
    workshop, folder = released
    release = read(folder / "release.json")
    target = native()
    archive = f"wheelhouse-{target.name}.tar"
    wheel = "nanofleet-1.0-py3-none-any.whl"
    assert folder == workshop.folder / "out" / "1.0"
    assert release == {
        "version": "1.0",
        "created": "2027-01-15T08:00:00Z",
        "commit": None,
        "wheel": wheel,
        "python_requires": ">=3.11",
        "files": {
            name: {
                "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
                "bytes": (folder / name).stat().st_size,
            }
            for name in ("audit.json", "sbom.cdx.json", wheel, archive)
        },
        "targets": {target.name: {"archive": archive, "platform": target.platform, "onnxruntime": ["cpu"]}},
    }
    assert {path.name for path in folder.iterdir()} == {*release["files"], "release.json"}
    assert list(folder.parent.iterdir()) == [folder]
    assert read(folder / "audit.json")["result"] == "clean"
    # pip goes to the nodes as well; the project itself is nowhere published.
    assert {name for name, _ in workshop.service.asked} == {"pip", "jinja2", "onnxruntime", "joserfc"}


@pytest.mark.slow
def test_bill_names_what_the_archive_holds_and_is_valid(released: tuple[Workshop, Path]) -> None:
    bill = read(released[1] / "sbom.cdx.json")
    bill_schema().validate(bill)
    assert bill["metadata"]["component"]["name"] == "nanofleet"
    assert {one["name"]: one["version"] for one in bill["components"]} == {
        "jinja2": "2.10", "joserfc": "1.0", "onnxruntime": "1.0", "pip": "1.0",
    }  # fmt: skip
    [root] = [one for one in bill["dependencies"] if one["ref"] == "root-component"]
    assert root["dependsOn"] == ["jinja2==2.10"]


def bill_schema() -> jsonschema.Draft7Validator:
    """CycloneDX 1.6, as a library of .venv-release has it."""
    [folder] = (REPOSITORY / ".venv-release").glob("lib/python3.*/site-packages/cyclonedx/schema/_res")
    schemas = [read(folder / f"{name}.SNAPSHOT.schema.json") for name in ("bom-1.6", "spdx", "jsf-0.82")]
    # They refer to one another by the names of these files, which are not those of their $id.
    resources = [
        (schema["$id"].replace(".schema.json", ".SNAPSHOT.schema.json"), Resource.from_contents(schema))
        for schema in schemas
    ]
    return jsonschema.Draft7Validator(schemas[0], registry=Registry().with_resources(resources))


@pytest.mark.slow
def test_release_of_the_same_tree_is_the_same_bytes_and_takes_the_place_of_the_older(
    released: tuple[Workshop, Path],
) -> None:
    workshop, folder = released
    before = (folder / "release.json").read_bytes()
    again = workshop.make(out="again")
    assert (again / "release.json").read_bytes() == before
    workshop.set_version("1.0", says="1.0 mended")
    assert workshop.make(out="again") == again
    assert (again / "release.json").read_bytes() != before
    assert list(again.parent.iterdir()) == [again]


@pytest.mark.slow
def test_release_is_stopped_by_a_known_vulnerability_until_it_is_named(workshop: Workshop) -> None:
    workshop.service.known = {("jinja2", "2.10"): JINJA_ADVISORY}
    told: list[str] = []
    with pytest.raises(ReleaseError, match=r"1 known vulnerabilit.*PYSEC-2019-217.*--accept"):
        workshop.make(told=told)
    assert any("fixed in 2.10.1" in line for line in told)
    assert not (workshop.folder / "out").exists()
    assert read(workshop.folder / "work" / "release" / "audit.json")["result"] == "found"
    # --unaudited is for what is not known, not for what is.
    with pytest.raises(ReleaseError):
        workshop.make(unaudited=True)

    folder = workshop.make(accepted={"CVE-2019-10906": "no template of others is rendered"})
    audit = read(folder / "audit.json")
    assert audit["result"] == "accepted"
    assert audit["findings"][0]["accepted_because"] == "no template of others is rendered"


@pytest.mark.slow
def test_release_is_stopped_where_advisories_cannot_be_had(workshop: Workshop) -> None:
    gone = "http://127.0.0.1:9/v1/query"
    with pytest.raises(ReleaseError, match=r"is unknown: .*--unaudited"):
        workshop.make(advisories=gone)
    assert not (workshop.folder / "out").exists()
    audit = read(workshop.make(advisories=gone, unaudited=True) / "audit.json")
    assert audit["result"] == "unknown"
    assert audit["reason"]


@pytest.mark.slow
def test_release_that_says_another_version_is_not_left_behind(workshop: Workshop) -> None:
    workshop.set_version("1.1", says="1.0")
    with pytest.raises(ReleaseError, match=r"says version '1.0' instead of 1.1"):
        workshop.make()
    assert list((workshop.folder / "out").iterdir()) == []


@pytest.mark.slow
def test_release_for_other_machines_is_made_but_not_tried(workshop: Workshop) -> None:
    own = native()
    other = Target(11 if own.minor != 11 else 12, "aarch64" if own.machine == "x86_64" else "x86_64")
    told: list[str] = []
    release = read(workshop.make(targets=(other,), told=told) / "release.json")
    assert list(release["targets"]) == [other.name]
    assert "none of the archives is for this machine: none was tried" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--accept", "CVE-1"], "needs its --because"),
        (["--accept", "CVE-1", "--because", " "], "needs its --because"),
        (["--target", "cp39-x86_64"], "is no target"),
        (["--advisories", "here"], "neither pypi nor osv"),
    ],
)
def test_command_refuses_what_makes_no_sense(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err


def test_command_says_that_no_jetson_runs_the_gpu_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--onnxruntime", "gpu", "--target", "cp312-aarch64"]) == 1
    assert "runs on no Jetson" in capsys.readouterr().err


def test_commit_of_a_tree_outside_of_git_is_none(workshop: Workshop) -> None:
    assert commit_of(workshop.source) is None
    assert commit_of(REPOSITORY) is not None
