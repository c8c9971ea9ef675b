"""Where sources and stages tell how they are."""

from typing import Literal, Protocol

Status = Literal["ok", "waiting", "degraded", "failed"]


class Condition(Protocol):
    """Where a source or a stage tells how it is. Called on the event loop; the same again is cheap."""

    def __call__(self, who: str, status: Status, code: str | None, message: str | None) -> None: ...
