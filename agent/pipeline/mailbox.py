"""What a source captured, held until the worker takes it: one mailbox a source, bounded."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Overflow = Literal["newest", "wait"]
DropCause = Literal["replaced", "stale", "paused", "degraded", "unhealthy"]
"""Why a frame or window was not inferred. replaced: a newer one took its place; stale: it waited too long;
paused: its source has no model; degraded: the node sheds load or heat, and lets this source's frames go;
unhealthy: the model failed on it."""

_ARRIVALS = 16
"""So many of the last arrivals tell how often items come."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class MailboxStatistics:
    """`offered` = `taken` + the sum of `dropped` + `held`, at any moment."""

    offered: int
    taken: int
    held: int
    dropped: Mapping[DropCause, int]


class Mailbox(Generic[Item]):
    """A bounded hand-over from one capture thread to the worker's lanes.

    When it is full, `newest` lets the new item replace the oldest held one; `wait` makes the capture
    thread wait, so nothing is lost. `lock` is shared with the worker's other mailboxes: `filled` wakes lanes.
    `now_ns` is the monotonic time. While load is shed, one item of `keep_one_of` is taken in, or none for 0;
    a mailbox that waits takes them all in.
    """

    def __init__(
        self,
        *,
        overflow: Overflow,
        capacity: int,
        filled: threading.Condition,
        lock: threading.Lock,
        now_ns: Callable[[], int],
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox holds at least one item, not {capacity}")
        self.overflow = overflow
        self.keep_one_of = 1
        self.arrivals_ns: deque[int] = deque(maxlen=_ARRIVALS)
        self._capacity = capacity
        self._now_ns = now_ns
        self._shed_in_a_row = 0
        self._lock = lock
        self._filled = filled
        self._emptied = threading.Condition(lock)
        self._held: deque[Item] = deque()
        self._offered = 0
        self._taken = 0
        self._dropped: dict[DropCause, int] = {}
        self._closed = False

    def put(self, item: Item) -> bool:
        """Offer `item`, from the capture thread. False: the mailbox is closed and `item` was not taken in."""
        with self._lock:
            if self.overflow == "wait":
                self._emptied.wait_for(lambda: self._closed or len(self._held) < self._capacity)
            if self._closed:
                return False
            self._offered += 1
            if self._is_shed():
                self._count_drop("degraded")
                return True
            self.arrivals_ns.append(self._now_ns())
            if len(self._held) == self._capacity:
                self._held.popleft()
                self._count_drop("replaced")
            self._held.append(item)
            self._filled.notify()
            return True

    def close(self) -> None:
        """Take in nothing more; what is held can still be taken."""
        with self._lock:
            self._closed = True
            self._emptied.notify_all()
            self._filled.notify_all()

    def statistics(self) -> MailboxStatistics:
        with self._lock:
            return MailboxStatistics(self._offered, self._taken, len(self._held), dict(self._dropped))

    # The scheduler calls what follows, and reads the times above, while it holds `lock`.

    def peek(self) -> Item | None:
        """The oldest held item, which stays."""
        return self._held[0] if self._held else None

    def take(self) -> Item:
        """The oldest held item, which leaves."""
        item = self._held.popleft()
        self._taken += 1
        self._emptied.notify()
        return item

    def drop(self, cause: DropCause) -> None:
        """Let the oldest held item go without inference."""
        self._held.popleft()
        self._count_drop(cause)
        self._emptied.notify()

    def spoil(self) -> None:
        """What was taken last came to nothing: the model failed on it."""
        self._taken -= 1
        self._count_drop("unhealthy")

    def _is_shed(self) -> bool:
        if self.overflow == "wait" or self.keep_one_of == 1:
            return False
        self._shed_in_a_row += 1
        if self.keep_one_of == 0 or self._shed_in_a_row < self.keep_one_of:
            return True
        self._shed_in_a_row = 0
        return False

    def _count_drop(self, cause: DropCause) -> None:
        self._dropped[cause] = self._dropped.get(cause, 0) + 1
