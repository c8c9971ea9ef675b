"""What is derived from the models stays what they say."""

from __future__ import annotations

import shutil
from pathlib import Path

from agent.contract.policy import Policy
from agent.contract.schemas import schema_of
from agent.settings.model import Settings
from tools.generate import REPOSITORY, generated, stale
from tools.role_settings import END, MARK, SPECS, with_settings


def test_schemas_and_references_are_what_the_models_say() -> None:
    assert [str(path) for path in stale(REPOSITORY)] == [], "make generate"


def test_a_changed_a_missing_and_a_left_over_file_are_found(tmp_path: Path) -> None:
    for folder in ("config/schemas", "docs/reference"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    (tmp_path / SPECS).parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / SPECS, tmp_path / SPECS)
    (tmp_path / "config/schemas/state.json").unlink()
    (tmp_path / "config/schemas/old.json").write_text("{}")
    with (tmp_path / "docs/reference/policy.md").open("a") as file:
        file.write("an afterthought\n")
    assert {path.name for path in stale(tmp_path)} == {"state.json", "old.json", "policy.md"}


def test_references_name_every_key() -> None:
    texts = generated()
    settings, policy = (texts[Path(f"docs/reference/{name}.md")] for name in ("settings", "policy"))
    assert all(f"| `{key}` |" in settings for key in Settings.model_fields)
    assert all(f"| `{key}` |" in policy for key in Policy.model_fields)
    assert "## policy.sources.NAME, kind rtsp" in policy
    assert '| `transport` | tcp or udp | `"tcp"` |' in policy


def test_what_a_person_wrote_around_the_generated_settings_stays() -> None:
    made = with_settings(f"before\n{MARK}      of old\n{END}after\n", schema_of(Settings))
    assert made.startswith(f"before\n{MARK}      nanofleet_settings:\n")
    assert made.endswith(f"{END}after\n")
    assert "of old" not in made
    assert with_settings(made, schema_of(Settings)) == made
