"""How many commands are taken, answered as too many, or only counted. Pure but for its counters."""

from typing import Final, Literal

from agent.contract.signed import MAX_SIGNED_BYTES
from agent.pipeline.token_bucket import TokenBucket

PER_S: Final = 20.0
BURST: Final = 50.0
BYTES_PER_S: Final = 16_384.0
BURST_BYTES: Final = 262_144.0
"""Reading 64 KiB of hostile JSON takes up to 0.1 s of a core: at this rate a fortieth of one."""

SMALL_BYTES: Final = 2_048
"""No larger than this, a command comes in also while large ones are owed: a person's ping gets through."""

REFUSALS_PER_S: Final = 5.0
BURST_REFUSALS: Final = 20.0

Admission = Literal["taken", "refused", "ignored"]
"""ignored: not even an answer is given, for that would be what overwhelms the node, or its broker."""


class Gate:
    """Lets in what the node has time to read, whoever sends it."""

    def __init__(self) -> None:
        self._commands = TokenBucket(per_s=PER_S, burst=BURST)
        self._bytes = TokenBucket(per_s=BYTES_PER_S, burst=BURST_BYTES)
        self._refusals = TokenBucket(per_s=REFUSALS_PER_S, burst=BURST_REFUSALS)

    def admit(self, size: int, now_ns: int) -> Admission:
        """What to do with a command of `size` bytes that has come now."""
        self._commands.fill(now_ns)
        self._bytes.fill(now_ns)
        if not self._commands.has_one or (size > SMALL_BYTES and not self._bytes.has_one):
            return self.refuse(now_ns)
        self._commands.take()
        # The last one may be larger than what is left: it is owed. What is larger than allowed is not read.
        self._bytes.tokens -= size if size <= MAX_SIGNED_BYTES else 0
        return "taken"

    def refuse(self, now_ns: int) -> Literal["refused", "ignored"]:
        """There is no room for one: whether that is said."""
        self._refusals.fill(now_ns)
        if not self._refusals.has_one:
            return "ignored"
        self._refusals.take()
        return "refused"
