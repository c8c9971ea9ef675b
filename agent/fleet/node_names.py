"""Which nodes an operator means: one by its name, or all of a site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.contract.signed import check_audience
from agent.contract.topics import CONTRACT_VERSION, Topics

_ALL: Final = "*"
_ROOT: Final = ("edge", f"v{CONTRACT_VERSION}")


@dataclass(frozen=True, slots=True, order=True)
class NodeName:
    """A node, by its site and its own name."""

    site: str
    node: str

    def __str__(self) -> str:
        return f"{self.site}/{self.node}"

    @property
    def topics(self) -> Topics:
        return Topics(self.site, self.node)


def read_node(text: str) -> NodeName:
    """The node that `text` names.

    Raises:
        ValueError: it names none, or more than one.

    >>> read_node("plant/nano-1")
    NodeName(site='plant', node='nano-1')
    """
    site, _, node = check_audience(text).partition("/")
    if node == _ALL:
        raise ValueError(f"{text!r} is all nodes of a site; here each is named: SITE/NODE")
    return NodeName(site, node)


def read_nodes_or_site(text: str) -> NodeName | str:
    """The node that `text` names, or the site whose nodes are all meant (`plant/*`).

    Raises:
        ValueError: it names neither.

    >>> read_nodes_or_site("plant/*")
    'plant'
    """
    site, _, node = check_audience(text).partition("/")
    return site if node == _ALL else NodeName(site, node)


def read_assignment(text: str) -> tuple[NodeName, str]:
    """A node and the file that is meant for it.

    Raises:
        ValueError: it is not of the form SITE/NODE=FILE.

    >>> read_assignment("plant/nano-1=policy.yaml")
    (NodeName(site='plant', node='nano-1'), 'policy.yaml')
    """
    name, equals, file = text.partition("=")
    if not equals or not file:
        raise ValueError(f"{text[:80]!r} says not which file; SITE/NODE=FILE is wanted")
    return read_node(name), file


def place_of(topic: str) -> tuple[NodeName, str] | None:
    """Whose topic it is, and its path below the node's; None: no node's.

    >>> place_of("edge/v1/plant/nano-1/config/reported")
    (NodeName(site='plant', node='nano-1'), 'config/reported')
    """
    root, version, *rest = [*topic.split("/", 4), "", ""][:5] if topic else ["", ""]
    if (root, version) != _ROOT or len(rest) != 3 or not rest[2]:
        return None
    return NodeName(rest[0], rest[1]), rest[2]
