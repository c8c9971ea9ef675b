"""What the demo's node is told: its settings, its policy, its models, in a folder of its own."""

import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from agent.demo.broker import HOST
from agent.demo.certificates import Identity

SITE = "demo"
NODE = "nano-1"

CAMERAS = {"line-a": 1001, "line-b": 1002}
"""The synthetic cameras and the seeds of their scenes, by which anybody can recompute the truth; the model
was trained on other seeds."""

WIDTH_PX, HEIGHT_PX, RATE_HZ = 640, 480, 10

_SETTINGS = """\
site = "{site}"
node = "{node}"
state_dir = "{folder}/state"
policy_file = "{folder}/policy.yaml"
media_root = "{folder}/media"

[broker]
host = "{host}"
port = {port}
ca_file = "{ca}"
cert_file = "{cert}"
key_file = "{key}"

[http]
listen = "{folder}/http.sock"
"""

_POLICY = """\
v: 1
version: 1
issuer: demo
policy:
  models:
    parts:
      file: parts.onnx
    vibration:
      file: vibration.onnx
  sources:
{cameras}
    motor:
      kind: vibration
      model: vibration
      rate_hz: 200
      fault_every_s: 20
      fault_for_s: 4
  publish:
    heartbeat_s: 2
"""

_CAMERA = """\
    {name}:
      kind: synthetic
      model: parts
      width_px: {width}
      height_px: {height}
      rate_hz: {rate}
      seed: {seed}
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Where the demo's node finds everything."""

    folder: Path
    settings_file: Path
    report_file: Path
    log_file: Path


def write_scenario(folder: Path, identity: Identity, *, port: int) -> Scenario:
    """Write settings and policy, and lay the packaged models beside them."""
    media = folder / "media"
    media.mkdir()
    for name in ("parts.onnx", "vibration.onnx"):
        with (
            (media / name).open("wb") as copy,
            (files("agent.demo") / "models" / name).open("rb") as packaged,
        ):
            shutil.copyfileobj(packaged, copy)
    (folder / "state").mkdir()
    settings_file = folder / "agent.toml"
    settings_file.write_text(
        _SETTINGS.format(
            site=SITE,
            node=NODE,
            folder=folder,
            host=HOST,
            port=port,
            ca=identity.ca_file,
            cert=identity.cert_file,
            key=identity.key_file,
        )
    )
    cameras = "".join(
        _CAMERA.format(name=name, width=WIDTH_PX, height=HEIGHT_PX, rate=RATE_HZ, seed=seed)
        for name, seed in CAMERAS.items()
    )
    (folder / "policy.yaml").write_text(_POLICY.format(cameras=cameras.rstrip("\n")))
    return Scenario(
        folder=folder,
        settings_file=settings_file,
        report_file=folder / "report.json",
        log_file=folder / "agent.log",
    )
