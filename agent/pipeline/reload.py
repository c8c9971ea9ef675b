"""The policy file read again on demand: models change while the node works, the rest waits for a restart."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from agent.contract.policy import Policy, PolicyDocument
from agent.domain.errors import Code, NanofleetError, RefusedError
from agent.domain.ids import ModelName
from agent.pipeline.supervise import in_thread
from agent.pipeline.swap import ModelSwap
from agent.ports import Condition

log = structlog.get_logger(__name__)

_WHO = "policy"


@dataclass(frozen=True, slots=True)
class Rereading:
    """How somebody asks, by setting `asked` on the loop, and what then reads the document, in a thread."""

    asked: asyncio.Event
    read: Callable[[], PolicyDocument]


class Reload:
    """Waits until it is asked, reads the document anew, and swaps the models whose stanza or file changed.

    `on_applied` hears of a document that is in force as a whole, on the loop.
    """

    def __init__(
        self,
        *,
        rereading: Rereading,
        document: PolicyDocument,
        swap: ModelSwap,
        on_condition: Condition,
        on_applied: Callable[[PolicyDocument], None],
    ) -> None:
        self._asked = rereading.asked
        self._read = rereading.read
        self._document = document
        self._swap = swap
        self._on_condition = on_condition
        self._on_applied = on_applied
        policy = document.policy
        self._shadowing = {shadow.model: policy.models[shadow.model] for shadow in policy.shadows.values()}

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            log.info("policy.reading_again")
            try:
                await self._apply(await in_thread("read-policy", self._read))
            except NanofleetError as error:
                log.warning("policy.refused", code=error.code, message=error.message)
                message = f"version {self._document.version} stays in force: {error.message}"
                self._on_condition(_WHO, "degraded", error.code, message)

    async def _apply(self, document: PolicyDocument) -> None:
        """Raises: RefusedError (it is no newer than the one in force, and another)."""
        self._check_version(document)
        refused = []
        for name, stanza in document.policy.models.items():
            if not await self._swap.swap(ModelName(name), stanza):
                refused.append(f"policy.models.{name}")
        waiting = [*self._changed_shadows(document.policy)]
        waiting += changes_but_for_models(self._swap.policy, document.policy)
        if not refused and not waiting:
            self._document = document
            log.info("policy.applied", version=document.version)
            self._on_condition(_WHO, "ok", None, f"version {document.version} is in force")
            self._on_applied(document)
            return
        log.warning("policy.applied_in_part", version=document.version, refused=refused, waiting=waiting)
        parts = [f"refused: {', '.join(refused)}"] * bool(refused)
        parts += [f"takes effect with a restart: {', '.join(waiting)}"] * bool(waiting)
        message = f"of version {document.version} a part is not in force; {'; '.join(parts)}"
        self._on_condition(_WHO, "degraded", Code.APPLY, message)

    def _changed_shadows(self, policy: Policy) -> Iterator[str]:
        """Models that look over cameras' shoulders as they were at the start, and are another by now."""
        for name, stanza in self._shadowing.items():
            if policy.models.get(name) != stanza:
                yield f"policy.models.{name} as a shadow"

    def _check_version(self, document: PolicyDocument) -> None:
        present = self._document
        if document.version < present.version:
            raise RefusedError(
                f"the file has version {document.version}, below the one in force; raise it with each change",
                code=Code.STALE,
                path="/version",
            )
        if document.version == present.version and document.policy != present.policy:
            raise RefusedError(
                f"the file has other content under version {document.version}, which is in force; raise it "
                "with each change",
                code=Code.CONFLICT,
                path="/version",
            )


def changes_but_for_models(old: Policy, new: Policy) -> Iterator[str]:
    """Where two policies differ, apart from what is said of models: paths as a person writes them."""
    for section in ("sources", "rules"):
        before, after = getattr(old, section), getattr(new, section)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                yield f"policy.{section}.{name}"
    for section in ("publish", "power"):
        if getattr(old, section) != getattr(new, section):
            yield f"policy.{section}"
