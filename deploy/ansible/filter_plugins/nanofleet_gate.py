"""Filters of the role agent: nodes as `nanofleet fleet` takes them, and what the gate wants of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class FilterModule:
    """What Ansible looks for in a folder of filter plugins."""

    def filters(self) -> dict[str, Any]:
        """The filters by the names that templates use."""
        return {
            "peers": peers,
            "files_of": files_of,
            "wishes": wishes,
            "sources_well": sources_well,
            "sources_to_hear": sources_to_hear,
            "not_running": not_running,
            "ways_back": ways_back,
        }


def peers(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Hosts as the broker knows them, `SITE/NODE`.

    >>> peers(["nano-1"], {"nano-1": {"nanofleet_site": "plant"}})
    ['plant/nano-1']
    """
    return [
        f"{hostvars[host]['nanofleet_site']}/{hostvars[host].get('nanofleet_node', host)}" for host in hosts
    ]


def files_of(nodes: Iterable[str], folder: str) -> dict[str, str]:
    """By `SITE/NODE`, the file with its policy in `folder`.

    >>> files_of(["plant/nano-1"], "cache")
    {'plant/nano-1': 'cache/policy-plant-nano-1.yaml'}
    """
    return {node: f"{folder}/policy-{node.replace('/', '-')}.yaml" for node in nodes}


def wishes(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """By `SITE/NODE`, what each host has to report: what `nanofleet fleet wait-for --each` reads.

    Who failed before it came to a wish is not asked.

    >>> wishes(["a", "b"], {"a": {"nanofleet_site": "plant", "__nanofleet_wish": {"agent": "2"}}, "b": {}})
    {'plant/a': {'agent': '2'}}
    """
    wishing = [host for host in hosts if "__nanofleet_wish" in hostvars[host]]
    return {peers([host], hostvars)[0]: hostvars[host]["__nanofleet_wish"] for host in wishing}


def sources_well(told: Mapping[str, Any]) -> list[str]:
    """The sources that are well, of what `nanofleet fleet get` tells of a node.

    >>> sources_well({"health": {"sources": {"door": {"status": "ok"}, "yard": {"status": "waiting"}}}})
    ['door']
    """
    sources = (told.get("health") or {}).get("sources") or {}
    return sorted(name for name, condition in sources.items() if condition.get("status") == "ok")


def sources_to_hear(told: Mapping[str, Any], accepted: Mapping[str, Any], running: str) -> list[str] | None:
    """The sources that have to be heard after an update: those that were well before it.

    What runs and was never accepted is no measure: then those count, too, that were well when the release
    `accepted` was. None: nothing was heard of the node, and every source counts.

    >>> told = {"health": {"sources": {"door": {"status": "ok"}, "yard": {"status": "waiting"}}}}
    >>> sources_to_hear(told, {"release": "1", "sources": ["yard"]}, "1")
    ['door']
    >>> sources_to_hear(told, {"release": "1", "sources": ["yard"]}, "2")
    ['door', 'yard']
    >>> sources_to_hear({"health": None}, {"release": "1", "sources": []}, "1")
    """
    if told.get("health") is None:
        return None
    before = accepted["sources"] if accepted["release"] != running else []
    return sorted({*sources_well(told), *before})


def ways_back(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The different ways that hosts would go back, in words; who is there already goes none.

    >>> ways_back(["a", "b"], {"a": {"__nanofleet_was": "2", "__nanofleet_back_to": "1"},
    ...                        "b": {"__nanofleet_was": "1", "__nanofleet_back_to": ""}})
    ['a from 2 to 1', 'b from 1 to nothing before it']
    >>> ways_back(["a"], {"a": {"__nanofleet_was": "1", "__nanofleet_back_to": "1"}})
    []
    """
    by_way: dict[tuple[str, str], list[str]] = {}
    for host in hosts:
        way = (hostvars[host]["__nanofleet_was"], hostvars[host]["__nanofleet_back_to"])
        if way[0] != way[1]:
            by_way.setdefault(way, []).append(host)
    return [
        f"{_some(names)} from {was or 'nothing'} to {target or 'nothing before it'}"
        for (was, target), names in by_way.items()
    ]


def not_running(nodes: Mapping[str, Mapping[str, Any]], version: str) -> list[str]:
    """Those who do not report `version` and being online, of what `nanofleet fleet get` tells of nodes.

    >>> not_running({"plant/a": {"state": {"state": "online"}, "info": {"agent": "2"}}, "plant/b": {}}, "2")
    ['plant/b']
    """
    return [
        name
        for name, told in nodes.items()
        if (told.get("state") or {}).get("state") != "online"
        or (told.get("info") or {}).get("agent") != version
    ]


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
