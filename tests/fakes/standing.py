"""A memory of events that are on, which outlives a stage but not a test."""

from agent.ports import Standing


class FakeStandingStore:
    """Fulfils `ports.StandingStore`; `writes` are all that was ever kept, in order."""

    def __init__(self) -> None:
        self.writes: list[Standing] = []

    def load(self) -> Standing:
        return self.writes[-1] if self.writes else Standing()

    def keep(self, standing: Standing) -> None:
        self.writes.append(standing)
