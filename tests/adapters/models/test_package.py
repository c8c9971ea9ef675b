"""What may be in a package, how it is named by its hash, and where it is laid."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from agent.adapters.models import open_package, package_digest
from agent.adapters.models.package import KEPT
from agent.domain.errors import Code, RefusedError, TransientError

CARD = b"name: people\nversion: '1.4'\nlicence: MIT\n"
MODEL = b"not looked at here"


def folder_of(path: Path, **more: bytes) -> Path:
    (path / "golden").mkdir(parents=True)
    for name, data in {"model.yaml": CARD, "model.onnx": MODEL, **more}.items():
        (path / name).write_bytes(data)
    return path


def zip_of(path: Path, more: dict[str, bytes] | None = None, *, without: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {"model.yaml": CARD, "model.onnx": MODEL, **(more or {})}.items():
            if name != without:
                archive.writestr(name, data)
    return path


def refusal(path: Path, tmp_path: Path, **kwargs: str) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        open_package(path, cache=tmp_path / "cache", **kwargs)
    assert not list((tmp_path / "cache").glob("*")), "nothing is left in the cache of what was refused"
    return refused.value


def test_zip_is_laid_below_its_hash_and_read(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "people.zip", {"golden/a.npz": b"1", "golden/": b"", "LICENSE": b"MIT"})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    package = open_package(path, cache=tmp_path / "cache", sha256=digest)

    assert (package.card.name, package.card.version, package.sha256) == ("people", "1.4", digest)
    assert package.model_file == tmp_path / "cache" / digest / "model.onnx"
    assert package.model_file.read_bytes() == MODEL
    assert [golden.name for golden in package.goldens] == ["a.npz"]


def test_hash_of_a_folder_is_what_sha256sum_makes_of_it(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "people", **{"golden/b.npz": b"2", "golden/a.npz": b"1"})
    line = "find . -type f | sed 's,^./,,' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    told = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=True).stdout

    assert told.split()[0] == package_digest(folder)
    assert open_package(folder, cache=tmp_path / "cache").sha256 == package_digest(folder)


def test_folder_edited_afterwards_leaves_what_was_laid_as_it_was(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "people")
    package = open_package(folder, cache=tmp_path / "cache")
    (folder / "model.onnx").write_bytes(b"another")
    assert package.model_file.read_bytes() == MODEL
    assert open_package(folder, cache=tmp_path / "cache").sha256 != package.sha256


def test_damage_in_the_cache_is_mended_from_the_package(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "people.zip")
    package = open_package(path, cache=tmp_path / "cache")
    package.model_file.write_bytes(MODEL[::-1])
    assert open_package(path, cache=tmp_path / "cache").model_file.read_bytes() == MODEL


def test_another_package_than_asked_for_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "people.zip"
    path.write_bytes(b"no zip at all")
    refused = refusal(path, tmp_path, sha256="0" * 64)
    assert refused.code == Code.HASH
    assert "another one" in refused.message


@pytest.mark.parametrize(
    "name",
    [
        "../model.onnx",
        "golden/../../x.npz",
        "/etc/passwd",
        "golden/a/b.npz",
        "model.onnx.data",
        "run.py",
        "C:\\x.npz",
        "golden/.npz",
        "people/model.onnx",
    ],
)
def test_name_that_does_not_belong_into_a_package_is_refused(tmp_path: Path, name: str) -> None:
    refused = refusal(zip_of(tmp_path / "people.zip", {name: b"x"}), tmp_path)
    assert refused.code == Code.FILE
    assert "does not belong into a package" in refused.message
    assert not (tmp_path / "model.onnx").exists()


def test_link_in_a_zip_and_in_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.zip"
    zip_of(path)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("LICENSE")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert "is a link" in refusal(path, tmp_path).message

    folder = folder_of(tmp_path / "people")
    (folder / "LICENSE").symlink_to("/etc/passwd")
    assert "is a link" in refusal(folder, tmp_path).message


def test_golden_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "people")
    (folder / "golden").rmdir()
    (folder / "golden").symlink_to("/etc")
    assert "is a link" in refusal(folder, tmp_path).message


def test_bomb_is_refused_by_what_it_says_and_by_what_it_holds(tmp_path: Path) -> None:
    honest = zip_of(tmp_path / "honest.zip", {"golden/a.npz": bytes(2**26 + 1)})
    assert honest.stat().st_size < 2**20
    assert refusal(honest, tmp_path).code == Code.SIZE

    # The directory says 10 bytes for what unpacks to 8 MB.
    lying = zip_of(tmp_path / "lying.zip", {"golden/a.npz": bytes(2**23)})
    data = bytearray(lying.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"golden/a.npz"))
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    lying.write_bytes(data)
    assert refusal(lying, tmp_path).code in {Code.FILE, Code.SIZE}


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    many = {f"golden/{number}.npz": b"" for number in range(64)}
    assert refusal(zip_of(tmp_path / "people.zip", many), tmp_path).code == Code.SIZE


def test_file_that_is_in_a_zip_twice_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "people.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("model.onnx", b"another")
    assert "twice" in refusal(path, tmp_path).message


@pytest.mark.parametrize("missing", ["model.yaml", "model.onnx"])
def test_package_without_its_model_or_its_card_is_refused(tmp_path: Path, missing: str) -> None:
    assert f"needs {missing}" in refusal(zip_of(tmp_path / "p.zip", without=missing), tmp_path).message


def test_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "people.zip", {"golden/a.npz": os.urandom(4096)})
    data = bytearray(path.read_bytes())
    data[data.index(b"golden/a.npz") + 1000] ^= 0xFF
    path.write_bytes(data)
    assert refusal(path, tmp_path).code == Code.FILE
    path.write_bytes(b"PK\x03\x04 and nothing more")
    assert "damaged zip" in refusal(path, tmp_path).message


def test_card_with_a_mistake_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "people")
    (path / "model.yaml").write_bytes(CARD + b"licens: MIT\n")
    with pytest.raises(RefusedError) as refused:
        open_package(path, cache=tmp_path / "cache")
    assert "people/model.yaml:4: licens: there is no key 'licens' here" in refused.value.message


def test_cache_keeps_the_packages_used_last(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    packages = []
    for number in range(KEPT + 2):
        folder = folder_of(tmp_path / str(number), README=str(number).encode())
        packages.append(open_package(folder, cache=cache))
        os.utime(packages[-1].model_file.parent, (number, number))
        first = packages[0].model_file.parent
        if first.exists():
            os.utime(first, (1e6, 1e6))
    kept = {each.name for each in cache.iterdir()}
    assert len(kept) == KEPT
    assert {packages[0].sha256, packages[-1].sha256} <= kept
    assert packages[1].sha256 not in kept


def test_cache_that_cannot_be_written_is_no_fault_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.raises(TransientError) as failed:
        open_package(zip_of(tmp_path / "people.zip"), cache=tmp_path / "cache")
    assert failed.value.code == Code.FILE
