"""What a diagnosis may say of Settings."""

import json
from pathlib import Path

from agent.settings import load_settings
from agent.settings.telling import told

SETTINGS = """\
site = "plant"
node = "nano-42"
state_dir = "{folder}"
allowed_hosts = ["10.1.0.0/16"]
[broker]
host = "broker.example"
username = "planted-user"
password_file = "{folder}/planted-broker-file"
[pipes.cam]
command = ["gst-launch-1.0", "rtspsrc", "user-pw=planted-command"]
width_px = 640
height_px = 480
[secrets.door]
username = "planted-camera-user"
password_file = "{folder}/planted-door-file"
hosts = ["10.1.0.7"]
"""


def test_it_tells_names_and_bounds_and_nothing_that_opens_a_door(tmp_path: Path) -> None:
    for name in ("planted-broker-file", "planted-door-file"):
        (tmp_path / name).write_text("planted-password\n")
        (tmp_path / name).chmod(0o600)
    file = tmp_path / "agent.toml"
    file.write_text(SETTINGS.format(folder=tmp_path))
    settings = load_settings(file, look_at_files=False)
    found = told(settings)
    assert found["broker"]["host"] == "broker.example"
    assert found["broker"]["with_password"] is True
    assert found["pipes"] == {"cam": {"width_px": 640, "height_px": 480, "format": "bgr24"}}
    assert found["secrets"] == {"door": {"hosts": ["10.1.0.7"]}}
    assert "planted" not in json.dumps(found)
