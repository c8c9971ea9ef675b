"""A line that breaks, stalls, flaps, is slow, or is away for long."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.e2e.outbox_rows import count_waiting
from tests.faults.chart import two_curves
from tests.faults.lag import LagWatch, made_at
from tests.faults.records import Form, Record
from tests.faults.site import Site, telemetry_policy
from tests.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PARTS = Path(__file__).parents[2] / "agent/demo/models/parts.onnx"

_KEEPALIVE_S = 5
_LATE_S = 5.0
_LINE_S = 0.1
_MOST_LAG_S = 2.0
_BACKLOG = 30


@pytest.mark.faults("Line", "dead without a word (half-open TCP), 5 s keepalive, for 20 s")
async def test_a_dead_line_is_noticed_within_two_keepalives(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path, keepalive_s=_KEEPALIVE_S) as site:
        await site.start()
        await site.flow(60)
        began = time.monotonic()
        site.proxy.hold()
        lost = await site.until_logged("link.lost")
        noticed_s = time.monotonic() - began
        await asyncio.sleep(max(0.0, 20.0 - noticed_s))
        site.proxy.release()
        record.recovered_s = await site.recover()
        await site.wait_drained()
        await site.finish()
        record.note(f"noticed after {noticed_s:.1f} s")
        record.take(found := site.audit())
        assert lost["cause"] == "keepalive"
        assert noticed_s <= 2 * _KEEPALIVE_S
        assert (found.lost_count, found.waiting) == (0, 0), found.lost


@pytest.mark.faults("Line", "reset (RST) in the middle of a PUBLISH, five times")
async def test_a_reset_within_a_publish_costs_nothing(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path) as site:
        await site.start()
        slowest_s = 0.0
        for _ in range(5):
            # A session of more than two seconds: else the back-off grows, which is another fault.
            await site.flow(100)
            sessions = len(site.proxy.connections)
            site.proxy.cut_after_publishes = len(site.proxy.connections[-1].published)
            await until(lambda: site.proxy.cut_after_publishes is None)
            slowest_s = max(slowest_s, await site.recover())
            assert len(site.proxy.connections) > sessions
        await site.wait_drained()
        await site.finish()
        record.recovered_s = slowest_s
        record.take(found := site.audit())
        assert (found.lost_count, found.waiting, found.lost_by_broker_count) == (0, 0, 0), found.lost


@pytest.mark.faults("Line", "away for a minute (long: 12) at 30 messages a second, then 100 ms slow")
@pytest.mark.timeout(1800)
async def test_after_an_outage_the_present_is_not_hidden_behind_the_past(
    tmp_path: Path, record: Record, form: Form
) -> None:
    away_s = 60.0 if form == "quick" else 720.0
    async with Site(tmp_path) as site:
        # With this a window of 20 takes some 200 messages a second: what came together needs its time. A
        # fifth of them is the present's, more than the 30 that are made.
        site.proxy.delay_down_s = _LINE_S
        await site.start()
        await site.flow(60)
        site.go_offline()
        await site.until_logged("link.lost")
        await asyncio.sleep(away_s)
        waited = count_waiting(site.agent.outbox_file)
        site.come_online()
        record.recovered_s = await site.recover(within_s=150.0)
        watch = LagWatch(site.consumer)
        backlog: list[tuple[float, float]] = []

        def is_drained() -> bool:
            backlog.append((time.time() - watch.since_s, count_waiting(site.agent.outbox_file)))
            return backlog[-1][1] < _BACKLOG

        await until(is_drained, within_s=10 * away_s, every_s=0.25)
        drained_s = time.time() - watch.since_s
        points = watch.points()
        live = [lag_s for _at_s, lag_s in points]
        record.charts["outage"] = two_curves(
            ("messages that wait", backlog),
            ("seconds from making to arrival, of new ones", points),
            across="seconds after the first message got through again",
        )
        await site.finish()
        record.take(found := site.audit())
        record.note(
            f"{waited:,} messages waited, and had left {drained_s:.0f} s after the first; meanwhile "
            f"{len(live):,} new ones came {max(live):.2f} s after they were made at most"
        )
        assert waited >= 0.9 * 30 * away_s, "it did not produce what it should have"
        assert drained_s > 5.0, "drained at once: nothing could be hidden"
        assert len(live) > 15 * drained_s, "the present has to flow while the past does"
        assert max(live) < _MOST_LAG_S
        assert (found.lost_count, found.waiting, found.declared) == (0, 0, 0), found.lost


@pytest.mark.faults("Line", "reset every 5 s, six times (long: 60)")
@pytest.mark.timeout(900)
async def test_a_flapping_line_is_used_between_its_breaks(tmp_path: Path, record: Record, form: Form) -> None:
    breaks = 6 if form == "quick" else 60
    async with Site(tmp_path) as site:
        await site.start()
        least = None
        for _ in range(breaks):
            before = site.count()
            await asyncio.sleep(5.0)
            taken = site.count() - before
            least = taken if least is None else min(least, taken)
            site.proxy.reset()
        record.recovered_s = await site.recover()
        await site.wait_drained()
        await site.finish()
        record.note(f"{least} messages passed between two breaks at least, of 150 made")
        record.take(found := site.audit())
        assert least is not None
        assert least > 0
        assert (found.lost_count, found.waiting) == (0, 0), found.lost


@pytest.mark.faults("Line", "PUBACKs 5 s late for 30 s, beside a camera whose frames are inferred")
async def test_late_acknowledgements_fill_the_window_and_slow_no_inference(
    tmp_path: Path, record: Record
) -> None:
    policy = telemetry_policy(
        more="    line: {kind: synthetic, model: parts, rate_hz: 5, width_px: 320, height_px: 320}\n"
    ).replace("policy:\n", "policy:\n  models: {parts: {file: parts.onnx}}\n")
    # What is late is the answer to a ping, too: the keepalive has to bear it.
    async with Site(tmp_path, policy=policy, media=[PARTS], keepalive_s=20) as site:
        await site.start()
        await until(lambda: bool(site.consumer.of("detections/line")), within_s=60)
        began_s = time.time()
        await asyncio.sleep(15.0)
        site.proxy.delay_down_s = _LATE_S
        late_s = time.time()
        await asyncio.sleep(30.0)
        site.proxy.delay_down_s = 0.0
        ended_s = time.time()
        record.recovered_s = await site.recover()
        await site.wait_drained()
        await site.finish()
        record.take(found := site.audit())
        made_s = [
            made
            for message in site.consumer.messages()
            if message.stream == "detections/line" and (made := made_at(message))
        ]
        before = sum(began_s <= at < late_s for at in made_s) / (late_s - began_s)
        during = sum(late_s <= at < ended_s for at in made_s) / (ended_s - late_s)
        record.note(
            f"{site.proxy.most_unacknowledged} on their way at most; {before:.2f} frames a second inferred "
            f"before, {during:.2f} meanwhile"
        )
        assert site.proxy.most_unacknowledged == 20, "the window is filled, and not passed"
        assert len(site.proxy.connections) == 1
        assert during > 0.9 * before > 0
        assert (found.lost_count, found.waiting) == (0, 0), found.lost


@pytest.mark.faults("Line", "no more than 6 KB a second get through for 20 s, of 20 KB that are made")
async def test_a_line_that_is_too_narrow_lets_the_outbox_grow_and_nothing_else(
    tmp_path: Path, record: Record
) -> None:
    async with Site(tmp_path, keepalive_s=_KEEPALIVE_S) as site:
        await site.start()
        await site.flow(60)
        site.proxy.up_bytes_s = 6_000
        await asyncio.sleep(20.0)
        waited = count_waiting(site.agent.outbox_file)
        site.proxy.up_bytes_s = None
        record.recovered_s = await site.recover()
        await site.wait_drained()
        await site.finish()
        record.note(f"{waited} messages waited at its end")
        record.take(found := site.audit())
        assert waited > 100
        assert len(site.proxy.connections) == 1, "slow is not dead"
        assert site.proxy.most_unacknowledged <= 20
        assert (found.lost_count, found.waiting) == (0, 0), found.lost
