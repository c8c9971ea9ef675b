"""What the stages call on the event loop, under BlockBuster: clock, metrics, notifications, log."""

from __future__ import annotations

import io
import socket
from contextlib import closing
from pathlib import Path

import structlog
from blockbuster import blockbuster_ctx

from agent.adapters.logs.configure import configure_logging
from agent.adapters.logs.scrub import Scrubber
from agent.adapters.metrics.prometheus import PrometheusMetrics
from agent.adapters.system.clock import SystemClock
from agent.adapters.system.notify import Notifier


async def test_nothing_that_stages_call_blocks_the_loop(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    stream = io.StringIO()
    clock, metrics = SystemClock(), PrometheusMetrics(version="1.2.3", strict=True)
    notifier = Notifier(environment={"NOTIFY_SOCKET": path})
    configured = configure_logging(stream=stream, scrubber=Scrubber())
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening, closing(configured):
        listening.bind(path)
        with blockbuster_ctx():
            notifier.ready()
            for _ in range(1000):
                notifier.watchdog()
            clock.now()
            clock.synced()
            metrics.count("objects_total", source="door")
            metrics.observe("stage_seconds", 0.1, stage="ack")
            metrics.percentiles("stage_seconds")
            structlog.get_logger().warning("a.b")
    notifier.close()
    assert '"event":"a.b"' in stream.getvalue()
