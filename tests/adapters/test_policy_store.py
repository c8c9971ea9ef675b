"""What every policy store keeps, and what the file of the real one survives."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from agent.adapters.policy_store import POLICY_FILE, FilePolicyStore
from agent.domain.errors import Code, TransientError
from agent.ports import KeptPolicy, PolicyStore, Unfinished
from tests.fakes.policy_store import FakePolicyStore
from tests.polling import until_blocking

REPOSITORY = Path(__file__).parents[2]
KILLS = 60

KEPT = KeptPolicy(
    document={"version": 7, "policy": {"sources": {"tür": {"kind": "synthetic"}}}},
    origin="patch",
    floor=9,
    desired_sha256="ab" * 32,
    unfinished=Unfinished(8, "cd" * 32, 2),
    attempts=({"version": 7, "status": "applied"}, {"version": None, "status": "failed"}),
    sources={"tür": {"version": 7, "status": "waiting", "code": "E_OPEN"}},
)

Make = Callable[[], PolicyStore]


@pytest.fixture(params=["file", "fake"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the store; called again it is what the next process finds."""
    if request.param == "file":
        return lambda: FilePolicyStore(state_dir=tmp_path / "state")
    fake = FakePolicyStore()
    return lambda: fake


def test_there_is_nothing_at_first(make: Make) -> None:
    assert make().load() == KeptPolicy()


def test_the_next_process_finds_what_was_kept_last(make: Make) -> None:
    make().keep(KeptPolicy(floor=3))
    make().keep(KEPT)
    assert make().load() == KEPT
    make().keep(KeptPolicy())
    assert make().load() == KeptPolicy()


def test_disk_that_refuses_leaves_what_was_kept_before(tmp_path: Path) -> None:
    fake = FakePolicyStore(KEPT)
    fake.broken = True
    real = FilePolicyStore(state_dir=tmp_path)
    real.keep(KEPT)
    (tmp_path / "policy-state.tmp").mkdir()  # nobody, not even root, writes into that
    for store in (fake, real):
        with pytest.raises(TransientError) as told:
            store.keep(KeptPolicy(floor=11))
        assert told.value.code == Code.SPACE
        assert store.load() == KEPT


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"v": 2}',
        b'{"v": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"v": 1, "document": None, "unfinished": "no", "floor": 1}).encode(),
        json.dumps({"v": 1, "document": None, "unfinished": None, "floor": None}).encode(),
    ],
)
def test_damaged_file_is_moved_aside(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / POLICY_FILE
    file.write_bytes(content)
    store = FilePolicyStore(state_dir=tmp_path)
    assert store.load() == KeptPolicy()
    assert (tmp_path / f"{POLICY_FILE}.damaged").read_bytes() == content
    store.keep(KEPT)
    assert store.load() == KEPT


def test_many_threads_leave_one_whole_state(tmp_path: Path) -> None:
    store = FilePolicyStore(state_dir=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda floor: store.keep(KeptPolicy(floor=floor)), range(40)))
    assert store.load().floor in range(40)


def run_and_kill(folder: Path, said_file: Path, *, first: int, random: Random) -> list[int]:
    """The versions that the child had kept before it was killed."""
    with said_file.open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.adapters.policy_keeping_child", str(folder), str(first)],
            cwd=REPOSITORY,
            stdout=said,
            stderr=subprocess.PIPE,
        )
        try:
            until_blocking(lambda: said_file.stat().st_size > 0 or child.poll() is not None, within_s=30)
            with pytest.raises(subprocess.TimeoutExpired):  # the point in time is what is random here
                child.wait(timeout=random.uniform(0, 0.1))
        finally:
            os.kill(child.pid, signal.SIGKILL)
            _, errors = child.communicate(timeout=10)
    assert child.returncode == -signal.SIGKILL, errors.decode()
    return [int(line) for line in said_file.read_text().split("\n")[:-1]]  # the last one may be cut


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_process_killed_at_random_leaves_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    random = Random(20261123)
    kept_before = 0
    for _ in range(KILLS):
        last = run_and_kill(tmp_path, tmp_path / "said", first=kept_before + 1, random=random)[-1]
        found = FilePolicyStore(state_dir=tmp_path).load()
        # What it said is kept is there; the one that it was at may be.
        assert found.floor in {last, last + 1}
        assert found.document == {"version": found.floor, "padding": f"{found.floor}" * 5_000}
        kept_before = found.floor
    assert not (tmp_path / f"{POLICY_FILE}.damaged").exists()
    print(f"killed {KILLS} times, while {kept_before} states were kept")
