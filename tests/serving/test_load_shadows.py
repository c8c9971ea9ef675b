"""Second models as they are loaded: those that can be, and why another is left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.contract.policy import Policy
from agent.serving.model_loading import load_shadows
from agent.settings import Settings

PARTS = Path(__file__).parents[2] / "agent/demo/models/parts.onnx"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "media").mkdir()
    shutil.copy(PARTS, tmp_path / "media" / "parts.onnx")
    (tmp_path / "media" / "junk.onnx").write_bytes(b"no model")
    return Settings.model_validate(
        {
            "site": "plant",
            "node": "nano-1",
            "media_root": tmp_path / "media",
            "state_dir": tmp_path / "state",
            "broker": {"host": "broker"},
        }
    )


@pytest.mark.parametrize(
    ("stanza", "code"),
    [
        pytest.param({"file": "junk.onnx"}, "E_MODEL", id="no model"),
        pytest.param({"file": "absent.onnx"}, "E_FILE", id="no file"),
        pytest.param({"file": "parts.onnx", "sha256": "0" * 64}, "E_HASH", id="another file"),
    ],
)
def test_shadow_that_cannot_be_loaded_is_told_once_a_camera_and_the_others_look_on(
    settings: Settings, stanza: dict[str, str], code: str
) -> None:
    policy = Policy.model_validate(
        {
            "models": {"parts": {"file": "parts.onnx"}, "next": {"file": "parts.onnx"}, "junk": stanza},
            "sources": {
                "door": {"kind": "synthetic", "model": "parts", "shadow": {"model": "junk"}},
                "yard": {"kind": "synthetic", "model": "parts", "shadow": {"model": "next"}},
            },
        }
    )
    with capture_logs() as lines:
        shadows = load_shadows(policy, settings)

    assert list(shadows.plans) == ["yard"]
    assert [(name, error.code) for name, error in shadows.lacking.items()] == [("door", code)]
    told = [(line["source"], line["model"], line["code"]) for line in lines if line["log_level"] == "warning"]
    assert told == [("door", "junk", code)]
