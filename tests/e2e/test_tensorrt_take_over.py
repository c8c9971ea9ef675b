"""A node asked for TensorRT, on the stand-in for its library: CUDA serves until the engine is there."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.polling import until_blocking
from tests.stand_ins import gpu

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

POLICY = """\
v: 1
version: 1
policy:
  models: {colours: {file: colours.onnx, provider: tensorrt, precision: fp16, strict_provider: STRICT}}
  sources: {door: {kind: synthetic, model: colours, rate_hz: 20}}
"""
NO_BROKER = 1  # nobody listens there: what is published stays in the outbox


class Node:
    """`nanofleet run` in a folder of its own, with a GPU that is not there."""

    def __init__(self, folder: Path, *, strict: bool) -> None:
        self.folder = folder
        self.socket = folder / "http.sock"
        self.log = folder / "agent.log"
        for needed in ("media", "state"):
            (folder / needed).mkdir(exist_ok=True)
        gpu.colour_model(folder / "media" / "colours.onnx")
        (folder / "policy.yaml").write_text(POLICY.replace("STRICT", str(strict).lower()))
        (folder / "agent.toml").write_text(
            f'site = "plant"\nnode = "nano"\nstate_dir = "{folder}/state"\n'
            f'policy_file = "{folder}/policy.yaml"\nmedia_root = "{folder}/media"\n'
            f'[broker]\nhost = "127.0.0.1"\nport = {NO_BROKER}\nallow_insecure = true\n'
            f'[http]\nlisten = "{self.socket}"\n'
        )

    @contextmanager
    def running(self, *, wrong: str = "", gate: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "agent.cli", "run", "--settings", str(self.folder / "agent.toml")],
                env=gpu.environment(wrong=wrong, gate=gate),
                cwd=gpu.ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=10)

    def condition(self) -> dict[str, Any]:
        """What health says of the model; empty while nobody answers."""
        connection = http.client.HTTPConnection("localhost")
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.socket))
            connection.request("GET", "/readyz")
            described = json.loads(connection.getresponse().read())
        except OSError:
            return {}
        finally:
            connection.close()
        found: dict[str, Any] = described["stages"].get("model-colours", {})
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]


def test_cuda_serves_while_the_engine_is_built_and_tensorrt_takes_over(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    node = Node(tmp_path, strict=False)
    with node.running(gate=gate) as process:
        until_blocking(lambda: node.condition().get("status") == "waiting", within_s=40)
        assert "cuda serves meanwhile" in node.condition()["message"]
        gate.touch()
        until_blocking(lambda: node.condition().get("status") == "ok", within_s=40)
        assert node.condition()["message"] == "tensorrt serves"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert [line["now"] for line in node.events("model.upgraded")] == ["tensorrt"]

    # The engine is there now: nobody has to wait for it, and for a gate that stays shut.
    with node.running(gate=tmp_path / "never"):
        until_blocking(lambda: node.condition().get("status") == "ok", within_s=40)


def test_a_build_that_fails_leaves_cuda_serving_and_the_node_degraded(tmp_path: Path) -> None:
    node = Node(tmp_path, strict=False)
    with node.running(wrong="engine-fails"):
        until_blocking(lambda: "goes on serving" in (node.condition().get("message") or ""), within_s=40)
        condition = node.condition()
    assert (condition["status"], condition["code"]) == ("degraded", "E_PROVIDER")
    assert "failed to create engine from network" in condition["message"]


def test_asked_strictly_a_node_waits_for_its_engine_or_does_not_start(tmp_path: Path) -> None:
    node = Node(tmp_path, strict=True)
    with node.running(wrong="engine-fails") as process:
        assert process.wait(timeout=40) != 0
    assert "failed to create engine from network" in node.log.read_text()
