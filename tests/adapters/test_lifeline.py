"""Children that end with the process that started them: real ones, held up at a pipe in place of a file."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.polling import until_blocking

REWRITES = """
import sys
from pathlib import Path
from agent.adapters.onnx.preparing import prepare_in_child
folder = Path(sys.argv[1])
prepare_in_child(folder / "model.onnx", rewrite="cut", out=folder / "out.onnx", time_limit_s=300)
"""

TRIES = """
import sys
from pathlib import Path
from agent.contract.policy import ModelPolicy
from agent.domain.ids import ModelName
from agent.serving.lane_plan import LanePlan
from agent.serving.rehearsal import rehearse
from agent.settings import Settings
folder = Path(sys.argv[1])
settings = Settings.model_validate({
    "site": "plant", "node": "n", "state_dir": folder, "media_root": folder, "broker": {"host": "broker"}
})
stanza = ModelPolicy.model_validate({"file": "model.onnx", "rewrite": "off"})
rehearse(ModelName("m"), stanza, settings, plan=LanePlan(lanes=1, threads=1), may_fall_back=True)
"""

EARLY = """
import os, sys
from agent.adapters import lifeline
lifeline.end_with_parent()
print("alive", flush=True)
"""


@contextmanager
def reader_of(pipe: Path) -> Iterator[int]:
    """Our end of a pipe, when somebody reads from the other one."""
    opened: list[int] = []

    def is_read() -> bool:
        try:
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    until_blocking(is_read, within_s=30)
    try:
        yield opened[0]
    finally:
        os.close(opened[0])  # whoever reads still sees its end, and ends


def is_left(end: int) -> bool:
    """Whether nobody reads from the other end any more."""
    poll = select.poll()
    poll.register(end, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


@pytest.mark.parametrize("program", [REWRITES, TRIES], ids=["rewrite", "rehearsal"])
def test_child_ends_with_the_agent_that_is_killed(tmp_path: Path, program: str) -> None:
    pipe = tmp_path / "model.onnx"
    os.mkfifo(pipe)
    agent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    try:
        with reader_of(pipe) as end:
            assert agent.poll() is None
            assert not is_left(end)
            agent.kill()
            agent.wait(10)
            until_blocking(lambda: is_left(end))
    finally:
        agent.kill()
        agent.wait(10)


@pytest.mark.parametrize(
    ("parent", "says"),
    [(os.getpid(), "alive\n"), (1 << 22, ""), (None, "alive\n")],
    ids=["ours", "gone", "nobody"],
)
def test_child_whose_parent_is_gone_already_ends_at_once(parent: int | None, says: str) -> None:
    environment = dict(os.environ)
    if parent is not None:
        environment["AGENT_PARENT_PID"] = str(parent)
    done = subprocess.run(
        [sys.executable, "-c", EARLY],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == says
    assert (done.returncode == 0) == bool(says), done.stderr
