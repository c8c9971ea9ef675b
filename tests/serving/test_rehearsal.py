"""A model is tried in a process of its own, which answers as this one would have."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from agent.contract.policy import ModelPolicy
from agent.domain.errors import Code, ConfigError, RefusedError, TransientError
from agent.domain.ids import ModelName
from agent.serving.lane_plan import LanePlan
from agent.serving.model_loading import digest_of, load_another
from agent.serving.rehearsal import rehearse
from agent.settings import Settings
from tests.model_packages import VIBRATION, package_of

NAME = ModelName("vibration")
PLAN = LanePlan(lanes=1, threads=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    package_of(VIBRATION, tmp_path / "good.zip", name="vibration")
    broken = package_of(VIBRATION, tmp_path / "broken", name="vibration")
    with (broken / "model.yaml").open("a") as card:
        card.write("metadata: {std: [1.0, 1.0, 1.0]}\n")
    return Settings.model_validate(
        {
            "site": "plant",
            "node": "nano-42",
            "state_dir": tmp_path / "state",
            "media_root": tmp_path,
            "broker": {"host": "broker"},
        }
    )


def tried(settings: Settings, *, may_fall_back: bool = False, **stanza: Any) -> None:
    policy = ModelPolicy.model_validate({"rewrite": "off", **stanza})
    rehearse(NAME, policy, settings, plan=PLAN, may_fall_back=may_fall_back)


def test_good_model_is_admitted_and_laid_where_this_process_finds_it(settings: Settings) -> None:
    tried(settings, file="good.zip")
    digest = digest_of(ModelPolicy.model_validate({"file": "good.zip"}), settings)
    assert (settings.packages_dir / digest / "model.onnx").is_file()


def test_refusal_comes_back_with_its_kind_code_and_sentence(settings: Settings) -> None:
    with pytest.raises(RefusedError, match="the score of golden/window-") as refused:
        tried(settings, file="broken")
    assert refused.value.code == Code.MODEL

    with pytest.raises(ConfigError) as config:
        tried(settings, file="good.zip", provider="cuda", strict_provider=True)
    assert config.value.code == Code.PROVIDER


def test_what_falls_back_is_refused_there_and_here(settings: Settings) -> None:
    stanza = ModelPolicy.model_validate({"file": "good.zip", "provider": "cuda", "rewrite": "off"})
    with pytest.raises(RefusedError) as refused:
        load_another(NAME, stanza, settings, plan=PLAN, may_fall_back=False)
    assert refused.value.code == Code.PROVIDER
    assert (
        load_another(NAME, stanza, settings, plan=PLAN, may_fall_back=True).model.facts.provider_used == "cpu"
    )


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("import time; time.sleep(60)", Code.TIMEOUT, "not admitted within 0.5 s"),
        ("import sys; sys.exit('out of memory')", Code.MODEL, "ended with 1: out of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Code.MODEL, "ended with -9"),
    ],
)
def test_process_that_hangs_or_breaks_is_ended_and_told(
    settings: Settings, program: str, code: Code, said: str
) -> None:
    stanza = ModelPolicy.model_validate({"file": "good.zip"})
    limit_s = 0.5 if code == Code.TIMEOUT else 30.0
    with pytest.raises(TransientError) as failed:
        rehearse(
            NAME,
            stanza,
            settings,
            plan=PLAN,
            may_fall_back=False,
            command=(sys.executable, "-c", program),
            limit_s=limit_s,
        )
    assert failed.value.code == code
    assert said in failed.value.message
