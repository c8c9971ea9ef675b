"""A policy store in memory."""

import json
from dataclasses import asdict

from agent.domain.errors import Code, TransientError
from agent.ports import KeptPolicy, Trial, Unfinished


class FakePolicyStore:
    """Fulfils `ports.PolicyStore`; `broken` makes it refuse as a full disk does."""

    def __init__(self, kept: KeptPolicy | None = None) -> None:
        self.broken = False
        self.history: list[KeptPolicy] = []
        self._text: str | None = None
        if kept is not None:
            self.keep(kept)

    def load(self) -> KeptPolicy:
        if self._text is None:
            return KeptPolicy()
        state = json.loads(self._text)
        unfinished, trial = state.pop("unfinished"), state.pop("trial")
        return KeptPolicy(
            **{**state, "attempts": tuple(state["attempts"])},
            unfinished=Unfinished(**unfinished) if unfinished else None,
            trial=Trial(**trial) if trial else None,
        )

    def keep(self, kept: KeptPolicy) -> None:
        if self.broken:
            raise TransientError("the disk is full", code=Code.SPACE)
        self.history.append(kept)
        self._text = json.dumps(asdict(kept))
