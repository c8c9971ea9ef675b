"""Filters of the roles: settings as TOML, a policy's devices, nodes as `nanofleet fleet` takes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class FilterModule:
    """What Ansible looks for in a folder of filter plugins."""

    def filters(self) -> dict[str, Any]:
        """The filters by the names that templates use."""
        return {
            "to_toml": to_toml,
            "video_devices": video_devices,
            "peers": peers,
            "files_of": files_of,
            "wishes": wishes,
            "with_files": with_files,
            "sources_well": sources_well,
            "sources_to_hear": sources_to_hear,
            "not_running": not_running,
        }


def to_toml(settings: Mapping[str, Any]) -> str:
    """`settings` as a TOML document; keys without a value (None) are left out.

    Source: TOML 1.0: a JSON string, number, boolean and list of these mean the same in TOML.

    >>> print(to_toml({"site": "plant", "broker": {"port": 8883, "ca_file": None}}), end="")
    site = "plant"
    <BLANKLINE>
    [broker]
    port = 8883
    """
    return "\n\n".join(_tables(settings, ())) + "\n"


def video_devices(policy: Mapping[str, Any]) -> list[str]:
    """The devices below /dev that the enabled `v4l2` sources of a policy document open, sorted.

    >>> video_devices({"policy": {"sources": {"door": {"kind": "v4l2", "device": "video2"}}}})
    ['/dev/video2']
    """
    sources = (policy.get("policy") or {}).get("sources") or {}
    return sorted(
        {
            f"/dev/{source.get('device', 'video0')}"
            for source in sources.values()
            if source.get("kind") == "v4l2" and source.get("enabled", True)
        }
    )


def peers(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Hosts as the broker knows them, `SITE/NODE`.

    >>> peers(["nano-1"], {"nano-1": {"nanofleet_site": "plant"}})
    ['plant/nano-1']
    """
    return [
        f"{hostvars[host]['nanofleet_site']}/{hostvars[host].get('nanofleet_node', host)}" for host in hosts
    ]


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


def with_files(
    named: Mapping[str, Mapping[str, Any]], without: str, key: str, folder: str, suffix: str
) -> dict[str, dict[str, Any]]:
    """Settings by name, each naming its file on the node under `key`, and without what is told in it.

    >>> with_files({"door": {"password": "x"}}, "password", "password_file", "/etc/", ".password")
    {'door': {'password_file': '/etc/door.password'}}
    """
    return {
        name: {
            **{word: told for word, told in settings.items() if word != without},
            key: f"{folder}{name}{suffix}",
        }
        for name, settings in named.items()
    }


def files_of(nodes: Iterable[str], folder: str) -> dict[str, str]:
    """By `SITE/NODE`, the file with its policy in `folder`.

    >>> files_of(["plant/nano-1"], "cache")
    {'plant/nano-1': 'cache/policy-plant-nano-1.yaml'}
    """
    return {node: f"{folder}/policy-{node.replace('/', '-')}.yaml" for node in nodes}


def _tables(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Each table with its plain values, outermost first: they have to come before tables within."""
    lines = [
        f"{_key(key)} = {_value(value)}"
        for key, value in table.items()
        if value is not None and not isinstance(value, Mapping)
    ]
    if path and (lines or not table):
        lines.insert(0, f"[{'.'.join(map(_key, path))}]")
    if lines:
        yield "\n".join(lines)
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _tables(value, (*path, key))


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # DEL is the one letter that JSON lets stand and TOML does not.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
