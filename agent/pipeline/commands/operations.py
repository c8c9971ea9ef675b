"""What is known of each operation before anybody asks for it. The work itself is its handler's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol


class Handler(Protocol):
    """Does one operation. Called on the event loop, in the order of the commands unless it takes long."""

    async def __call__(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the operation answers; `args` are complete and of the contract's types and names.

        Cancelled when it takes longer than it may.

        Raises:
            NanofleetError: it could not be done; the path of a RefusedError points into the command.
        """


@dataclass(frozen=True, slots=True)
class Operation:
    """How an operation is run.

    `timeout_s`: it fails beyond. `is_long`: it runs beside the others, and `accepted` and `running` are
    told. `is_repeatable`: doing it again changes nothing, and so it is done even where its id cannot be kept.
    `changes_policy`: who signs it has to be trusted with policies too, and its handler finds the issuer among
    its arguments, as `issuer`.
    """

    timeout_s: float
    is_long: bool = False
    is_repeatable: bool = False
    changes_policy: bool = False


OPERATIONS: Final[Mapping[str, Operation]] = {
    "ping": Operation(5.0, is_repeatable=True),
    "log-level": Operation(5.0),
    "diagnose": Operation(15.0, is_repeatable=True),
    "explain": Operation(10.0, is_repeatable=True),
    "replay": Operation(30.0),
    "snapshot": Operation(30.0, is_long=True, is_repeatable=True),
    "restart-source": Operation(45.0, is_long=True),
    "patch-config": Operation(180.0, is_long=True, changes_policy=True),
    "what-if": Operation(60.0, is_long=True, is_repeatable=True),
}
"""By name: every operation of the contract. A reload of models, within `patch-config`, may outlast its
timeout; `config/reported` then tells what came of it."""

CHANGING_POLICY: Final = frozenset(op for op, operation in OPERATIONS.items() if operation.changes_policy)
REPEATABLE: Final = frozenset(op for op, operation in OPERATIONS.items() if operation.is_repeatable)
