"""A file that cannot be written is told before the work, not after it."""

from pathlib import Path

import pytest

from agent.cli.output_file import need_writable, write_output
from agent.domain.errors import ConfigError
from tests.e2e.agent_process import command


def test_new_file_in_a_folder_and_an_old_one_may_be_written(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    need_writable(file, option="--json")
    assert not file.exists()
    write_output(file, "°C\n", option="--json")
    need_writable(file, option="--json")
    assert file.read_text(encoding="utf-8") == "°C\n"


@pytest.mark.parametrize("where", [".", "absent/summary.json", "x" * 300])
def test_what_cannot_be_written_is_refused_with_a_sentence(tmp_path: Path, where: str) -> None:
    with pytest.raises(ConfigError, match=r"--json: .* cannot be written: "):
        need_writable(tmp_path / where, option="--json")
    with pytest.raises(ConfigError, match=r"--json: .* cannot be written: "):
        write_output(tmp_path / where, "", option="--json")


@pytest.mark.parametrize(
    ("words", "code"), [(("demo", "--for", "1", "--json"), 1), (("run", "--report"), 78)], ids=["demo", "run"]
)
def test_commands_look_at_it_before_they_begin(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    done = command(*words, tmp_path / "absent" / "out.json")
    assert done.returncode == code
    assert "out.json cannot be written: there is no folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
