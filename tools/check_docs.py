"""Hold the documents to what is there: every relative link leads to a file, and to a heading in it.

usage: python tools/check_docs.py [FOLDER]

It also finds marks of unfinished work in documents and sources. Exit status 1 lists file and line.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_LINK: Final = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING: Final = re.compile(r"^#{1,6}\s+(.+?)\s*#*$")
_FENCE: Final = re.compile(r"^\s*(```|~~~)")
_CODE: Final = re.compile(r"`[^`]*`")
# Written in two parts, so that this file does not find itself.
_UNFINISHED: Final = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
_SOURCES: Final = {".cfg", ".j2", ".md", ".py", ".sh", ".toml", ".yaml", ".yml"}


def tracked_files(root: Path) -> list[Path]:
    """What git knows or would know of: ignored files are nobody's document."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return [path for name in listed.stdout.decode().split("\0") if name and (path := root / name).is_file()]


def prose_lines(text: str) -> Iterator[tuple[int, str]]:
    """The numbered lines outside fenced code."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def headings_of(path: Path) -> set[str]:
    """The anchors that a forge makes of a document's headings."""
    found: set[str] = set()
    for _, line in prose_lines(path.read_text(encoding="utf-8")):
        if heading := _HEADING.match(line):
            words = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            name, copies = words, 0
            while name in found:
                copies += 1
                name = f"{words}-{copies}"
            found.add(name)
    return found


def broken_links(path: Path) -> Iterator[str]:
    """One sentence for each relative link in a document that leads nowhere."""
    for number, line in prose_lines(path.read_text(encoding="utf-8")):
        for target in _LINK.findall(_CODE.sub("", line)):
            address = urlsplit(target)
            if address.scheme or address.netloc:
                continue
            file = path.parent / unquote(address.path) if address.path else path
            if not file.exists():
                yield f"{path}:{number}: {target} leads to no file"
            elif address.fragment and file.suffix == ".md" and address.fragment not in headings_of(file):
                yield f"{path}:{number}: {target} leads to no heading"


def unfinished(path: Path) -> Iterator[str]:
    """One sentence for each mark of unfinished work."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if mark := _UNFINISHED.search(line):
            yield f"{path}:{number}: {mark[0]}: finish it, or file an issue"


def main(arguments: list[str]) -> int:
    """Check one folder. Returns the exit status."""
    root = Path(arguments[0]) if arguments else Path()
    problems: list[str] = []
    documents = 0
    for path in tracked_files(root):
        if path.suffix in _SOURCES or path.name == "Makefile":
            problems += unfinished(path)
        if path.suffix == ".md":
            documents += 1
            problems += broken_links(path)
    print("\n".join(problems) if problems else f"{documents} documents: every relative link leads somewhere")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
