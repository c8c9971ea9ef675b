"""On PYTHONPATH of an agent under test: does it harm from inside, without a change to it.

SIGUSR1 blocks the main thread, and with it the event loop, as a call that never returns would.
"""

import signal
import time


def _block(_number: int, _frame: object) -> None:
    time.sleep(3600)


signal.signal(signal.SIGUSR1, _block)
