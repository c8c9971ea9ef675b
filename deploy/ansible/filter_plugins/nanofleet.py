"""Filters of the role agent: settings as TOML, and what a policy's sources need of a machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class FilterModule:
    """What Ansible looks for in a folder of filter plugins."""

    def filters(self) -> dict[str, Any]:
        """The filters by the names that templates use."""
        return {
            "to_toml": to_toml,
            "video_devices": video_devices,
            "with_files": with_files,
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
