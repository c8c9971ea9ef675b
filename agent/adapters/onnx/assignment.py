"""Which provider runs which nodes: what one cannot do goes to the next, and costs copies to and fro."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from agent.adapters.onnx.providers import name_of

RECORD: Final = "session.record_ep_graph_assignment_info"
"""Source: onnxruntime_session_options_config_keys.h, since ONNX Runtime 1.24."""

_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Assignment:
    """Nodes by provider, before kernels are fused; `elsewhere`: the operators that `first` leaves over."""

    first: str
    nodes: dict[str, int] = field(default_factory=dict)
    elsewhere: dict[str, int] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return not self.elsewhere

    def __str__(self) -> str:
        shares = ", ".join(f"{name} {count}" for name, count in self.nodes.items())
        if self.is_whole:
            return shares
        most = list(self.elsewhere.items())[:_NAMED]
        named = ", ".join(f"{count} {operator}" for operator, count in most)
        more = ", …" if len(self.elsewhere) > _NAMED else ""
        return f"{shares} ({named}{more} not on {self.first})"


def read_assignment(session: Any) -> Assignment | None:
    """What became of each node of an `InferenceSession`; None where this ONNX Runtime does not tell."""
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    first = name_of(session.get_providers())
    nodes: Counter[str] = Counter()
    elsewhere: Counter[str] = Counter()
    for part in ask():
        provider = name_of([part.ep_name])
        operators = Counter(node.op_type for node in part.get_nodes())
        nodes[provider] += operators.total()
        if provider != first:
            elsewhere += operators
    return Assignment(first, dict(nodes.most_common()), dict(elsewhere.most_common()))
