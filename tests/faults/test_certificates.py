"""Certificates that are wrong, expire, or are replaced under a running agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.brokers import HOST, Authority, Identity
from tests.e2e.outbox_rows import count_waiting
from tests.faults.records import Record
from tests.faults.site import NODE, Site
from tests.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

Issue = Callable[[Authority, Path], Identity]


def _expired(authority: Authority, _folder: Path) -> Identity:
    return authority.issue("expired", HOST, not_after=datetime.now(UTC) - timedelta(hours=1))


def _of_another(_authority: Authority, folder: Path) -> Identity:
    return Authority(folder / "another").issue("another", HOST)


def _for_another_host(authority: Authority, _folder: Path) -> Identity:
    return authority.issue("elsewhere", "broker.elsewhere.example")


@pytest.mark.parametrize(
    ("issue", "said"),
    [
        pytest.param(
            _expired, "expired", marks=pytest.mark.faults("Certificates", "the broker's has expired")
        ),
        pytest.param(
            _of_another,
            "wrong CA",
            marks=pytest.mark.faults("Certificates", "the broker's is of another authority"),
        ),
        pytest.param(
            _for_another_host,
            "broker.elsewhere.example",
            marks=pytest.mark.faults("Certificates", "the broker's is for another host"),
        ),
    ],
)
async def test_a_broker_that_cannot_show_who_it_is_hears_nothing(
    tmp_path: Path, record: Record, issue: Issue, said: str
) -> None:
    async with Site(tmp_path) as site:
        right = site.broker.authority.issue("right", HOST)
        site.proxy.show(issue(site.broker.authority, tmp_path))
        await asyncio.to_thread(site.agent.start)
        tried = await site.until_logged("link.attempt_failed", times=2)
        await until(lambda: count_waiting(site.agent.outbox_file) > 30, every_s=0.1)
        # Handshakes may be completed, in order to say what is wrong; with nothing in them.
        heard = sum(connection.bytes_up for connection in site.proxy.connections)
        site.proxy.show(right)
        record.recovered_s = await site.recover()
        await site.wait_drained()
        await site.finish()
        record.note(f"the log says: {tried['message'].replace(str(site.folder), '…')}")
        record.take(found := site.audit())
        assert heard == 0
        assert (tried["cause"], tried["code"]) == ("tls", "E_TLS")
        assert said in tried["message"]
        assert (found.lost_count, found.waiting, found.declared) == (0, 0, 0), found.lost


@pytest.mark.faults("Certificates", "the node's is renewed under load, then replaced by a broken one")
async def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path) as site:
        await site.start()
        await site.flow(60)
        old = site.proxy.connections[-1].certificate
        site.broker.authority.issue(NODE)  # in the place of the files that are in use
        await until(lambda: site.proxy.connections[-1].certificate != old, within_s=60, every_s=0.05)
        record.recovered_s = await site.recover()
        renewed = site.proxy.connections[-1].certificate
        await site.flow(60)
        site.identity.certificate.write_text("this is no certificate\n")
        sessions = len(site.proxy.connections)
        told = len(site.log)
        await until(
            lambda: any(
                line["level"] == "warning" and "certificate" in str(line) for line in site.log[told:]
            ),
            within_s=60,
            every_s=0.1,
        )
        await site.flow(60)
        assert len(site.proxy.connections) == sessions, "the old connection is as good as before"
        assert site.proxy.connections[-1].certificate == renewed
        await site.finish()
        record.take(found := site.audit())
        assert (found.lost_count, found.waiting) == (0, 0), found.lost


@pytest.mark.faults("Certificates", "the node's expires while it is offline; a new one is laid in its place")
async def test_a_certificate_that_expired_offline_needs_no_restart_once_it_is_renewed(
    tmp_path: Path, record: Record
) -> None:
    async with Site(tmp_path) as site:
        authority = site.broker.authority
        expires = datetime.now(UTC) + timedelta(seconds=20)
        authority.issue(NODE, not_after=expires)
        await site.start()
        await site.flow(60)
        site.go_offline()
        await asyncio.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds() + 1.0))
        attempts = len(site.logged("link.attempt_failed"))
        sessions = len(site.proxy.connections)
        site.come_online()
        await site.until_logged("link.attempt_failed", times=attempts + 2, within_s=120)
        refused = site.logged("link.attempt_failed")[-1]
        assert len(site.proxy.connections) == sessions
        authority.issue(NODE)
        record.recovered_s = await site.recover(within_s=120)
        await site.wait_drained()
        await site.finish()
        record.note(f"the log says: {refused['message'].replace(str(site.folder), '…')}")
        record.take(found := site.audit())
        assert "certificate" in refused["message"]
        assert (found.lost_count, found.waiting, found.declared) == (0, 0, 0), found.lost
