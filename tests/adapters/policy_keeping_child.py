"""A process that keeps one policy after the other until it is killed.

Run as `python -m tests.adapters.policy_keeping_child FOLDER FIRST`. Each version that is kept is said on
stdout at once.
"""

import itertools
import os
import sys
from pathlib import Path

from agent.adapters.policy_store import FilePolicyStore
from agent.ports import KeptPolicy

store = FilePolicyStore(state_dir=Path(sys.argv[1]))
for version in itertools.count(int(sys.argv[2])):
    store.keep(KeptPolicy(document={"version": version, "padding": f"{version}" * 5_000}, floor=version))
    os.write(sys.stdout.fileno(), f"{version}\n".encode())
