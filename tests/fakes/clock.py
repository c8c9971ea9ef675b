"""A clock that moves when it is told to."""

from agent.domain.stamp import Stamp


class FakeClock:
    """Fulfils `ports.Clock`; `advance` moves both times, `step_wall` only the wall's."""

    def __init__(
        self, *, wall_ns: int = 1_700_000_000_000_000_000, monotonic_ns: int = 10_000_000_000
    ) -> None:
        self.wall_ns = wall_ns
        self.monotonic_ns = monotonic_ns
        self.is_synced = True
        self.boot = "b0074b00-0000-4000-8000-000000000001"

    def now(self) -> Stamp:
        return Stamp(self.wall_ns, self.monotonic_ns)

    def synced(self) -> bool:
        return self.is_synced

    def advance(self, seconds: float) -> None:
        self.wall_ns += int(seconds * 1e9)
        self.monotonic_ns += int(seconds * 1e9)

    def step_wall(self, seconds: float) -> None:
        self.wall_ns += int(seconds * 1e9)
