"""Subjects run in processes of their own: a task goes in as an argument, an answer comes back by stdout."""

import subprocess
import sys
from collections.abc import Callable
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

Task = TypeVar("Task")
Answer = TypeVar("Answer")

READY: Final = "ready"
"""The line by which a subject asks for its stdin."""

_TAIL: Final = 2_000


def run_subject(
    module: str,
    task: object,
    answer: type[Answer],
    *,
    within_s: float,
    feed: Callable[[int], None] | None = None,
) -> Answer:
    """Have `module` do `task`; `feed` is called with the descriptor of its stdin when it is ready.

    Raises:
        RuntimeError: it failed, said nothing that is an answer, or took longer than `within_s`.
    """
    words = [sys.executable, "-m", module, TypeAdapter(type(task)).dump_json(task).decode()]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both were asked for")
        try:
            if feed is not None and process.stdout.readline().strip() == READY:
                feed(process.stdin.fileno())
            said, complaint = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise RuntimeError(f"{module} did not end within {within_s:g} s") from error
        except BaseException:
            process.kill()
            raise
    try:
        return TypeAdapter(answer).validate_json(said)
    except ValidationError as error:
        raise RuntimeError(
            f"{module} ended with exit code {process.returncode}:\n{complaint[-_TAIL:]}"
        ) from error


def read_task(kind: type[Task]) -> Task:
    """The task of this process.

    Raises:
        ValidationError: the argument is none.
    """
    return TypeAdapter(kind).validate_json(sys.argv[1])


def answer_with(answer: object) -> None:
    """Say what came of it."""
    print(TypeAdapter(type(answer)).dump_json(answer).decode(), flush=True)
