"""`restart-source`: one source is let go of and opened anew, while the others go on."""

from collections.abc import Mapping
from typing import Any

from agent.domain.errors import Code, TransientError
from agent.domain.ids import SourceName
from agent.pipeline.control.reconcile import Reconciler


class RestartSource:
    """A command's handler."""

    def __init__(self, *, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    async def __call__(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises: RefusedError (no such source runs), TransientError (it did not come back in time)."""
        name = SourceName(args["source"])
        verdict = await self._reconciler.restart(name)
        if not verdict.passed:
            raise TransientError(
                f"{name} was restarted and did not come back: {verdict.message}",
                code=verdict.code or Code.PROBE,
                path="/args/source",
            )
        return {"source": name, "status": "ok"}
