"""The demo's node: the real command, as a process of its own."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.demo.scenario import Scenario

_STOP_S = 15.0


class NodeFailedError(Exception):
    """The agent ended by itself; the message holds the end of its log."""


class Node:
    """`nanofleet run` at work."""

    def __init__(self, process: asyncio.subprocess.Process, scenario: Scenario) -> None:
        self._process = process
        self._scenario = scenario

    async def wait(self) -> None:
        """Wait until it ends by itself, which it should not.

        Raises:
            NodeFailedError: always.
        """
        raise self.failed(f"it ended with exit code {await self._process.wait()}")

    def failed(self, what: str) -> NodeFailedError:
        """The error for `what`, with the end of the agent's log."""
        tail = "\n".join(self._scenario.log_file.read_text(errors="replace").splitlines()[-10:])
        return NodeFailedError(f"the agent failed: {what}; the last of its log:\n{tail}")

    async def stop(self) -> int:
        """Stop it in order; its exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()


@asynccontextmanager
async def running_node(scenario: Scenario) -> AsyncIterator[Node]:
    """The agent while the context lasts, told what the scenario says; its log goes to a file."""
    with scenario.log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "agent.cli", "run"),
            *("--settings", str(scenario.settings_file), "--report", str(scenario.report_file)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C in the terminal is the demo's to answer: it stops the agent in order.
            start_new_session=True,
        )
    node = Node(process, scenario)
    try:
        yield node
    finally:
        await node.stop()
