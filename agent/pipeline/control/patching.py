"""`patch-config`: a change to the policy in force, under the same checks as a whole one."""

import json
from collections.abc import Mapping
from typing import Any, Final

from agent.contract.json_text import read_json
from agent.contract.merge_patch import merge_patch
from agent.contract.policy_text import parse_policy
from agent.contract.reported import as_written
from agent.domain.errors import Code, RefusedError
from agent.pipeline.control.policy import PolicyControl
from agent.pipeline.supervise import in_thread

_MOST_ISSUER: Final = 200


class PatchConfig:
    """A command's handler. The patch is made on the loop, so that it is one of what is in force then."""

    def __init__(self, *, policies: PolicyControl) -> None:
        self._policies = policies

    async def __call__(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises: RefusedError (`E_CONFLICT` where another version is in force, or as the attempt ended)."""
        present = self._policies.document
        wanted = args.get("if_version")
        if wanted is not None and wanted != present.version:
            raise RefusedError(
                f"version {present.version} is in force, not {wanted}; look at it and patch that",
                code=Code.CONFLICT,
                path="/args/if_version",
            )
        envelope = {
            "v": 1,
            "version": args["version"],
            "issuer": f"patch-config by {args['issuer']}"[:_MOST_ISSUER],
            "policy": merge_patch(as_written(present.policy), args["patch"]),
        }
        text = json.dumps(envelope, ensure_ascii=False).encode()
        document = await in_thread("read-patch", lambda: parse_policy(read_json(text)))
        attempt = await self._policies.submit(document, "patch")
        if attempt.status in {"failed", "rolled_back"}:
            raise RefusedError(
                attempt.message or f"the attempt ended as {attempt.status}",
                code=attempt.code or Code.APPLY,
                path=attempt.path or "/args/patch",
            )
        return {
            "version": self._policies.document.version,
            "status": attempt.status,
            "message": attempt.message,
            "effective_sha256": attempt.sha256,
        }
