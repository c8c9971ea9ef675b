"""A file in the node's folder through which a person at the node hands the agent a policy."""

from pathlib import Path
from typing import Final

from agent.adapters.durable import replace_file
from agent.contract.documents import MAX_BYTES
from agent.domain.errors import Code, RefusedError, TransientError
from agent.ports import PolicyWish

INBOX_FILE: Final = "policy-inbox.json"
_RESET: Final = b'{"reset":true}\n'


class FilePolicyInbox:
    """Fulfils `ports.PolicyInbox`. `put` and `put_reset` are the other side: another process's."""

    def __init__(self, *, state_dir: Path) -> None:
        self._file = state_dir / INBOX_FILE

    def put(self, document: bytes) -> None:
        """Leave a document, JSON, in the place of what waits.

        Raises:
            TransientError: the folder cannot be written to.
        """
        self._write(document)

    def put_reset(self) -> None:
        """Ask to forget the floor. Raises: as `put`."""
        self._write(_RESET)

    def take(self) -> PolicyWish | None:
        try:
            with self._file.open("rb") as file:
                body = file.read(MAX_BYTES + 1)
            self._file.unlink()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TransientError(
                f"{self._file} cannot be taken: {error.strerror}", code=Code.FILE, path=str(self._file)
            ) from error
        if body == _RESET:
            return PolicyWish(document=None, forget_floor=True)
        return PolicyWish(document=body)

    def _write(self, body: bytes) -> None:
        if len(body) > MAX_BYTES:
            raise RefusedError(
                f"the policy has {len(body)} bytes; at most {MAX_BYTES} are allowed", code=Code.SIZE
            )
        try:
            replace_file(self._file, body)
        except OSError as error:
            raise TransientError(
                f"{self._file} cannot be written: {error.strerror}; the agent's user or root may",
                code=Code.FILE,
                path=str(self._file),
            ) from error
