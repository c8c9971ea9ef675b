"""No secret in anything that the process writes, sends or shows, through as many failures as there are."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.brokers import Authority, free_port
from tests.faults.records import Record
from tests.faults.secrets import Secret, found, processes_of
from tests.faults.site import Site
from tests.http_camera import HttpCamera
from tests.polling import until
from tests.rtsp_server import RtspServer

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

INTRUDER = Path(__file__).with_name("intruder")

USER = "viewer"
# Characters that URLs, JSON and shells spell differently.
CAMERA_PASSWORD = "Zaun/König@7?#%41&\"tor'"
POLICY_PASSWORD = "Giebel-Kranz-1904"
BROKER_PASSWORD = 'Möwe:9\\"x@/lange%20Nacht'

POLICY = """\
v: 1
version: 1
policy:
  sources:
    open: {{kind: rtsp, url: "{open}", secret: cam}}
    shut: {{kind: rtsp, url: "{shut}", secret: cam}}
    web: {{kind: http, url: "{web}/video", secret: cam}}
    gone: {{kind: rtsp, url: "rtsp://127.0.0.1:{nobody}/live", secret: cam, open_timeout_s: 1}}
    falls-silent: {{kind: http, url: "{silent}/video", secret: cam, read_timeout_s: 1}}
    motor: {{kind: vibration, report_every_s: 0.1}}
  publish: {{heartbeat_s: 1}}
"""
SETTINGS = """\
allowed_hosts = ["127.0.0.1"]
[secrets.cam]
username = "{user}"
password_file = "{folder}/camera.password"
hosts = ["127.0.0.1"]
[log]
level = "debug"
"""


def write_private(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


def everything_said(site: Site, secret_files: set[Path]) -> dict[str, bytes]:
    """All that the node wrote to its streams, its files and the broker; not the files that hold secrets."""
    places = {"standard streams": site.agent.log.encode()}
    for number, sent in enumerate(site.proxy.published):
        head = f"{sent.topic} {sent.properties.user} {sent.properties.values}"
        places[f"{sent.topic}, message {number}"] = head.encode() + sent.payload
    for file in site.agent.folder.rglob("*"):
        if file.is_file() and file not in secret_files:
            places[str(file)] = file.read_bytes()
    return places


@pytest.mark.faults("Secrets", "sought in streams, files, processes and messages, over failures of all kinds")
async def test_no_secret_is_written_sent_or_shown(tmp_path: Path, record: Record) -> None:
    """Cameras that refuse, are gone or fall silent; an exception and a C library that print a password; a
    crash; a broker of another authority; a key that does not belong to its certificate; a policy with
    credentials in an address; a password file that is open to others. All at debug level.
    """
    picture = np.zeros((64, 64, 3), np.uint8)
    mine, others = (USER, CAMERA_PASSWORD), (USER, "another")
    camera_file = write_private(tmp_path / "camera.password", CAMERA_PASSWORD)
    broker_file = write_private(tmp_path / "broker.password", BROKER_PASSWORD)
    told = write_private(
        tmp_path / "told", f"cannot open rtsp://{USER}:{CAMERA_PASSWORD}@127.0.0.1/ nor {BROKER_PASSWORD}\n"
    )
    stranger = Authority(tmp_path / "stranger")
    other = stranger.issue("other")
    environment = {
        "PYTHONPATH": str(INTRUDER),
        "FAULTS_TOLD_FILE": str(told),
        "NANOFLEET_BROKER__USERNAME": "nano-1",
        "NANOFLEET_BROKER__PASSWORD_FILE": str(broker_file),
    }
    with (
        RtspServer([picture], credentials=mine) as open_camera,
        RtspServer([picture], credentials=others) as shut,
        HttpCamera([picture], credentials=others) as web,
        HttpCamera([picture], credentials=mine, stops_after=2) as silent,
    ):
        policy = POLICY.format(
            open=open_camera.url, shut=shut.url, web=web.url, silent=silent.url, nobody=free_port()
        )
        settings = SETTINGS.format(user=USER, folder=tmp_path)
        async with Site(tmp_path, policy=policy, settings=settings, environment=environment) as site:
            shown = await _fail_at_work(site, shut, stranger)
            await _refuse_to_start(site, {"NANOFLEET_BROKER__KEY_FILE": str(other.key)}, policy)
            await _refuse_to_start(
                site,
                {},
                policy.replace(shut.url, f"rtsp://{USER}:{POLICY_PASSWORD}@127.0.0.1/live"),
            )
            broker_file.chmod(0o644)
            await _refuse_to_start(site, {}, policy)

            secrets = [
                Secret.password("the camera's password", CAMERA_PASSWORD, user=USER),
                Secret.password("the broker's password", BROKER_PASSWORD, user="nano-1"),
                Secret.password("a policy's password", POLICY_PASSWORD, user=USER),
                Secret.key("the node's key", site.identity.key),
                Secret.key("a stranger's key", other.key),
            ]
            places = everything_said(site, secret_files={site.agent.folder / "policy.yaml"})
            leaks = found(secrets, {**places, **shown})
            assert leaks == [], leaks
            # It was worth looking: they were in use, and the search finds them where they are.
            assert any("response=" in request for request in open_camera.requests)
            assert found(secrets, {"file": camera_file.read_bytes()}) == ["the camera's password in file"]
            assert found(secrets, {"file": site.identity.key.read_bytes()}) == ["the node's key in file"]
            size = sum(map(len, places.values()))
            record.note(
                f"{len(places)} messages and files of {size:,} bytes looked through, for {len(secrets)}"
            )


async def _fail_at_work(site: Site, shut: RtspServer, stranger: Authority) -> dict[str, bytes]:
    """Three lives, each with an end of its own; what `ps` showed of the first."""
    agent = site.agent
    await site.start()
    await until(lambda: any("Authorization" in request for request in shut.requests), within_s=60)
    for source in ("shut", "web", "gone", "falls-silent"):
        await until(lambda source=source: _is_unwell(site, source), within_s=60, every_s=0.1)  # type: ignore[misc]
    await until(lambda: any(line["source"] == "open" for line in site.logged("source.opened")), within_s=60)
    await site.flow(60)
    shown = await asyncio.to_thread(processes_of, agent.pid)
    os.kill(agent.pid, signal.SIGUSR2)
    await asyncio.to_thread(agent.wait, within_s=30)
    assert "Traceback" in agent.log
    assert "cannot open rtsp://" in agent.log

    await site.start()
    await site.flow(10)
    os.kill(agent.pid, signal.SIGABRT)
    await asyncio.to_thread(agent.wait, within_s=30)

    agent.environment["NANOFLEET_BROKER__CA_FILE"] = str(stranger.ca)
    refusals = agent.log.count("link.attempt_failed")
    await asyncio.to_thread(agent.start)
    await until(lambda: agent.log.count("link.attempt_failed") > refusals, within_s=30)
    assert await asyncio.to_thread(agent.stop) == 0
    assert agent.report_file.exists()
    del agent.environment["NANOFLEET_BROKER__CA_FILE"]
    return shown


async def _refuse_to_start(site: Site, environment: dict[str, str], policy: str) -> None:
    policy_file = site.agent.folder / "policy.yaml"
    usual, site.agent.environment = site.agent.environment, {**site.agent.environment, **environment}
    policy_file.write_text(policy)
    # With what was in force before, it would start whatever the file says.
    (site.agent.state / "policy-state.json").unlink(missing_ok=True)
    await asyncio.to_thread(site.agent.start)
    code = await asyncio.to_thread(site.agent.wait, within_s=60)
    assert code == os.EX_CONFIG, site.agent.log[-2000:]
    site.agent.environment = usual


def _is_unwell(site: Site, source: str) -> bool:
    told = site.consumer.of("health")
    return bool(told) and told[-1]["sources"].get(source, {}).get("status") not in {None, "ok"}
