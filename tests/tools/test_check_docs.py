from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.check_docs import main


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, timeout=20)
    (tmp_path / "guide.md").write_text("# First steps\n\n## What's `new`?\n\n## What's new\n")
    return tmp_path


@pytest.mark.parametrize(
    "link",
    [
        "guide.md",
        "guide.md#first-steps",
        "guide.md#whats-new",
        "guide.md#whats-new-1",
        "#here",
        "https://example.org/nowhere.md",
    ],
)
def test_check_docs_accepts_a_link_that_leads_somewhere(documents: Path, link: str) -> None:
    (documents / "README.md").write_text(f"# Here\n\nSee [this]({link}).\n")
    assert main([str(documents)]) == 0


@pytest.mark.parametrize("link", ["gone.md", "guide.md#second-steps", "#there", "../guide.md"])
def test_check_docs_names_a_link_that_leads_nowhere(
    documents: Path, link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (documents / "README.md").write_text(f"# Here\n\nSee [this]({link}).\n")
    assert main([str(documents)]) == 1
    assert f"README.md:3: {link} leads to no" in capsys.readouterr().out


def test_check_docs_leaves_code_alone(documents: Path) -> None:
    (documents / "README.md").write_text("`[a](gone.md)`\n\n```\n[b](gone.md)\n```\n")
    assert main([str(documents)]) == 0


def test_check_docs_names_unfinished_work(documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (documents / "code.py").write_text("x = 1\n# TO" + "DO: the rest\n")
    assert main([str(documents)]) == 1
    assert "code.py:2" in capsys.readouterr().out


def test_check_docs_passes_over_what_git_ignores(documents: Path) -> None:
    (documents / ".gitignore").write_text("build/\n")
    (documents / "build").mkdir()
    (documents / "build" / "page.md").write_text("[a](gone.md)\n")
    assert main([str(documents)]) == 0
