"""A process that enters commands and ends them until it is killed, and tells which.

Run as `python -m tests.adapters.commanding_child FOLDER PREFIX`. Lines on stdout, each written out at once:
``entered ID`` once the log has it, before the command would run; ``ended ID`` once its outcome is kept.
"""

import itertools
import os
import sys
from pathlib import Path

from agent.adapters.command_log import SqliteCommandLog
from agent.ports import CommandOutcome


def say(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


commands = SqliteCommandLog(state_dir=Path(sys.argv[1]))
for number in itertools.count():
    command_id = f"{sys.argv[2]}-{number}"
    assert commands.enter("ping", command_id) is None
    say(f"entered {command_id}")
    commands.finish(command_id, CommandOutcome("done", output={"number": number}))
    say(f"ended {command_id}")
