"""The agent as a node runs it: `nanofleet run` on a video, with its outbox, to a broker over TLS."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.adapters.mqtt import TlsFiles
from agent.contract.topics import Topics
from agent.report import RunReport
from benchmarks.broker import NODE, RunningBroker
from benchmarks.consumer import Consumer, Received
from benchmarks.footage import Footage
from benchmarks.lanes import warm_up_of
from benchmarks.runs import AgentTask
from benchmarks.subject import Subject, Subjects

_SITE: Final = "bench"
_CONNECT_S: Final = 20.0
_START_S: Final = 60.0
_MOST_S_PER_FRAME: Final = 5.0
_ARRIVAL_S: Final = 10.0
_POLL_S: Final = 0.02
_LOG_LINES: Final = 10

_SETTINGS: Final = """\
site = "{site}"
node = "{node}"
state_dir = "{folder}/state"
policy_file = "{folder}/policy.json"
media_root = "{folder}/media"

[broker]
host = "{host}"
port = {port}
ca_file = "{tls.ca}"
cert_file = "{tls.certificate}"
key_file = "{tls.key}"

[http]
listen = "{folder}/http.sock"
"""


@dataclass(frozen=True, slots=True)
class AgentRun:
    """One run from the first to the last frame of the video, of all cameras together.

    `rate_hz` counts a frame when its message has arrived at a consumer. `missing` messages were produced,
    but have neither arrived nor been declared lost. `objects_per_frame` is a mean.
    """

    rate_hz: float
    report: RunReport
    missing: int
    objects_per_frame: float


def run_whole_agent(
    task: AgentTask, subjects: Subjects, footage: Footage, broker: RunningBroker, folder: Path
) -> AgentRun:
    """Run until the video has ended and the broker has everything; `folder` is new and this run's own.

    Raises:
        RuntimeError: the agent failed; the message holds the end of its log.
        TimeoutError: it did not end in time.
    """
    _write_node(folder, task, subjects, footage, broker)
    report, received = asyncio.run(_observe(folder, broker, frames=task.cameras * footage.frames))
    missing = report.messages.produced - received.messages - received.declared_lost
    if len(received.frames) < 2:
        raise RuntimeError(f"{len(received.frames)} frames arrived; the agent's log:\n{_log_tail(folder)}")
    warm_up = warm_up_of(len(received.frames), lanes=report.lanes)
    return AgentRun(
        rate_hz=_rate_hz(received, warm_up=warm_up),
        report=report,
        missing=missing,
        objects_per_frame=sum(frame.objects for frame in received.frames) / len(received.frames),
    )


def _rate_hz(received: Received, *, warm_up: int) -> float:
    """Frames a second from the making of the last warm-up frame's message to the arrival of the last one.

    Arrivals alone would flatter: what was inferred while the agent still connected arrives at one blow.
    """
    frames = sorted(received.frames, key=lambda frame: frame.made_ns)
    took_ns = max(frame.arrived_ns for frame in frames) - frames[warm_up - 1].made_ns
    return (len(frames) - warm_up) * 1e9 / took_ns


async def _observe(folder: Path, broker: RunningBroker, *, frames: int) -> tuple[RunReport, Received]:
    consumer = Consumer(Topics(_SITE, NODE).base)
    listening = asyncio.Event()
    listener = asyncio.create_task(consumer.listen(broker, on_listening=listening.set), name="consumer")
    try:
        async with asyncio.timeout(_CONNECT_S):
            while not listening.is_set():
                _raise_if_ended(listener)
                await asyncio.sleep(_POLL_S)
        report = await _run_process(folder, within_s=_START_S + frames * _MOST_S_PER_FRAME)
        wanted = report.messages.produced - report.messages.lost
        deadline_s = asyncio.get_running_loop().time() + _ARRIVAL_S
        while len(consumer) < wanted and asyncio.get_running_loop().time() < deadline_s:
            _raise_if_ended(listener)
            await asyncio.sleep(_POLL_S)
    finally:
        listener.cancel()
        await asyncio.wait([listener])
    return report, consumer.read()


def _raise_if_ended(listener: "asyncio.Task[None]") -> None:
    if listener.done():
        listener.result()


async def _run_process(folder: Path, *, within_s: float) -> RunReport:
    """The command, as a process of its own, so that its memory and its loop are its own."""
    settings, report = folder / "agent.toml", folder / "report.json"
    # What this shell says of another node must not change this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NANOFLEET_")}
    with _log_file(folder).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent.cli", "run", "--settings", str(settings)),
            *("--until-ended", "--report", str(report)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )
        try:
            async with asyncio.timeout(within_s):
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if code:
        raise RuntimeError(
            f"the agent ended with exit code {code}; the last of its log:\n{_log_tail(folder)}"
        )
    return RunReport.model_validate_json(report.read_text())


def _write_node(
    folder: Path, task: AgentTask, subjects: Subjects, footage: Footage, broker: RunningBroker
) -> None:
    media = folder / "media"
    media.mkdir(parents=True)
    subject: Subject = getattr(subjects, task.graph)
    # A copy: a policy names nothing outside of media_root, not even by a link.
    shutil.copyfile(subject.path, media / "model.onnx")
    shutil.copyfile(footage.video, media / footage.video.name)
    tls: TlsFiles = broker.node
    settings = _SETTINGS.format(
        site=_SITE, node=NODE, folder=folder, host=broker.host, port=broker.port, tls=tls
    )
    (folder / "agent.toml").write_text(settings)
    camera = {"kind": "file", "path": footage.video.name, "pace": task.pace, "model": "subject"}
    model = {"file": "model.onnx", "sha256": subject.sha256, "shape": task.shape, "rewrite": "off"}
    policy = {
        "models": {"subject": model},
        "sources": {f"camera-{number}": camera for number in range(task.cameras)},
        "power": {"lanes": "latency" if task.lanes == "one_lane" else "throughput"},
    }
    document = {"v": 1, "version": 1, "issuer": "benchmark", "policy": policy}
    (folder / "policy.json").write_text(json.dumps(document))


def _log_file(folder: Path) -> Path:
    return folder / "agent.log"


def _log_tail(folder: Path) -> str:
    return "\n".join(_log_file(folder).read_text(errors="replace").splitlines()[-_LOG_LINES:])
