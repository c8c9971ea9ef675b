"""Filters of the roles pki and broker: lives, names, who was locked out, words for systemd."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

_FORMAT: Final = "%Y%m%d%H%M%SZ"
_WRITTEN: Final = "%Y-%m-%dT%H:%M:%SZ"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LIFE: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
"""Source: community.crypto, relative times."""
_UNITS_S: Final = (7 * 86400, 86400, 3600, 60, 1)
_SYSTEMD: Final = {"\\": r"\\", '"': r"\"", "%": "%%", "$": "$$", "\n": r"\n", "\t": r"\t"}
"""Source: systemd.syntax(7), quoting; systemd.unit(5), specifiers; systemd.service(5), command lines."""
_PAIRS: Final = (("not_before", "not_after"), ("last_update", "next_update"))


class FilterModule:
    """What Ansible looks for in a folder of filter plugins."""

    def filters(self) -> dict[str, Any]:
        """The filters by the names that templates use."""
        return {
            "life_left": life_left,
            "life_days": life_days,
            "alt_names": alt_names,
            "in_force": in_force,
            "repeated": repeated,
            "ill_named": ill_named,
            "ending": ending,
            "nodes_of": nodes_of,
            "gone_of": gone_of,
            "with_access": with_access,
            "revoked": revoked,
            "readmitted": readmitted,
            "revocations": revocations,
            "systemd_word": systemd_word,
            "systemd_path": systemd_path,
        }


def life_left(info: Mapping[str, Any], now: str | None = None) -> float:
    """The share of a certificate's or a revocation list's life that is left; 0 or less past its end.

    `info`: what x509_certificate_info or x509_crl_info returns. `now`: as they write a time; else the clock.

    >>> life_left({"not_before": "20260101000000Z", "not_after": "20260109000000Z"}, "20260107000000Z")
    0.25
    """
    for begin_key, end_key in _PAIRS:
        if begin_key in info:
            begin, end = _moment(info[begin_key]), _moment(info[end_key])
            return (end - _moment(now)) / (end - begin)
    raise ValueError("neither a certificate nor a revocation list: it has no dates")


def life_days(text: str) -> float:
    """How many days a life is that was written as a number and w, d, h, m or s; 0 for anything else.

    >>> life_days("730d"), life_days("1w12h"), life_days("two years")
    (730.0, 7.5, 0.0)
    """
    found = _LIFE.fullmatch(text)
    if found is None:
        return 0.0
    return (
        sum(int(count or 0) * unit_s for count, unit_s in zip(found.groups(), _UNITS_S, strict=True)) / 86400
    )


def alt_names(names: Iterable[str]) -> list[str]:
    """Host names and addresses as subject alternative names, sorted, each once.

    >>> alt_names(["broker.example", "192.0.2.1", "2001:db8::0:1", "broker.example"])
    ['DNS:broker.example', 'IP:192.0.2.1', 'IP:2001:db8::1']
    """
    return sorted({_alt_name(name) for name in names})


def in_force(entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries of a list of revoked names that nobody readmitted.

    >>> in_force([{"name": "a", "readmitted": "2026-01-01T00:00:00Z"}, {"name": "b"}])
    [{'name': 'b'}]
    """
    return [entry for entry in entries if not entry.get("readmitted")]


def repeated(names: Sequence[str]) -> list[str]:
    """Names that stand there more than once, sorted.

    >>> repeated(["b", "a", "b"])
    ['b']
    """
    return sorted({name for name in names if names.count(name) > 1})


def ill_named(names: Iterable[str]) -> list[str]:
    r"""Names that no node, client or site may have, sorted.

    >>> ill_named(["nano-1", "Nano 2", "-3", "x\n"])
    ['-3', 'Nano 2', 'x\n']
    """
    return sorted({name for name in names if not _NAME.fullmatch(name)})


def ending(copies: Iterable[Mapping[str, Any]], share: float, now: str | None = None) -> list[str]:
    """Whose certificates have less than `share` of their life left, and until when.

    `copies`: results of x509_certificate_info over what nodes_of returns; no dates where there is no copy.

    >>> dates = {"not_before": "20260101000000Z", "not_after": "20260109000000Z"}
    >>> ending([{"item": {"name": "nano-1"}, **dates}, {"item": {"name": "nano-2"}}], 0.25, "20260108000000Z")
    ['nano-1 (until 20260109000000Z)']
    """
    return [
        f"{copy['item']['name']} (until {copy['not_after']})"
        for copy in copies
        if "not_after" in copy and life_left(copy, now) < share
    ]


def nodes_of(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """The nodes on these hosts, sorted by host; a node has its host's name unless a variable says otherwise.

    >>> nodes_of(["box-1", "b"], {"box-1": {"nanofleet_node": "nano-1", "nanofleet_site": "plant"}, "b": {}})
    [{'host': 'b', 'name': 'b', 'site': ''}, {'host': 'box-1', 'name': 'nano-1', 'site': 'plant'}]
    """
    return [
        {
            "host": host,
            "name": hostvars[host].get("nanofleet_node", host),
            "site": hostvars[host].get("nanofleet_site", ""),
        }
        for host in sorted(hosts)
    ]


def gone_of(
    asked: str | Iterable[str], nodes: Iterable[Mapping[str, str]], site: str = ""
) -> list[dict[str, str]]:
    """Whom `asked` means, each once: hosts or names of nodes, as a list or with commas between.

    Of one that is none of `nodes` there is no host, and its site is `site`.

    Raises: ValueError, if a name is that of one node's host and of another node.

    >>> nodes = [{"host": "box-1", "name": "nano-1", "site": "plant"}]
    >>> gone_of("box-1, nano-1", nodes) == nodes
    True
    >>> gone_of(["nano-9"], nodes, "hall")
    [{'host': '', 'name': 'nano-9', 'site': 'hall'}]
    """
    names = asked.split(",") if isinstance(asked, str) else asked
    told: list[dict[str, str]] = []
    for name in filter(None, (name.strip() for name in names)):
        found = [dict(node) for node in nodes if name in (node["host"], node["name"])]
        if len(found) > 1:
            raise ValueError(f"{name} is one node's host and another node's name: take its other name")
        told += [one for one in found or [{"host": "", "name": name, "site": site}] if one not in told]
    return told


def with_access(clients: Iterable[str], operator: str) -> list[dict[str, str]]:
    """What clients of the broker may do: one operates, the others read.

    >>> with_access(["controller", "dashboard"], "controller")
    [{'name': 'controller', 'access': 'operate'}, {'name': 'dashboard', 'access': 'read'}]
    """
    return [{"name": name, "access": "operate" if name == operator else "read"} for name in clients]


def revoked(
    entries: Iterable[Mapping[str, Any]],
    gone: Iterable[Mapping[str, str]],
    certificates: Iterable[Mapping[str, Any]],
    now: str | None = None,
) -> list[Mapping[str, Any]]:
    """The list of revoked names with those who are gone: each with the serials that no entry has yet.

    `certificates`: results of x509_certificate_info. In force with nothing new: no second entry.

    >>> issued = [{"subject": {"commonName": "nano-1"}, "serial_number": 0xab01}]
    >>> once = revoked([], [{"name": "nano-1", "site": "plant"}], issued, "20260101000000Z")
    >>> once
    [{'name': 'nano-1', 'site': 'plant', 'date': '2026-01-01T00:00:00Z', 'serials': ['AB:01']}]
    >>> revoked(once, [{"name": "nano-1", "site": "plant"}], issued) == once
    True
    """
    told = list(entries)
    known = {serial for entry in told for serial in entry["serials"]}
    names = {entry["name"] for entry in in_force(told)}
    certificates = list(certificates)
    for node in gone:
        own = (info for info in certificates if info["subject"].get("commonName") == node["name"])
        serials = sorted({_serial(info["serial_number"]) for info in own} - known)
        if serials or node["name"] not in names:
            date = _moment(now).strftime(_WRITTEN)
            told.append({"name": node["name"], "site": node["site"], "date": date, "serials": serials})
    return told


def readmitted(
    entries: Iterable[Mapping[str, Any]], names: Iterable[str], now: str | None = None
) -> list[Mapping[str, Any]]:
    """The list of revoked names after these were let in again; what was revoked stays so.

    >>> readmitted([{"name": "a"}, {"name": "b"}], ["a"], "20260101000000Z")
    [{'name': 'a', 'readmitted': '2026-01-01T00:00:00Z'}, {'name': 'b'}]
    """
    date = _moment(now).strftime(_WRITTEN)
    return [
        {**entry, "readmitted": date} if entry["name"] in names and not entry.get("readmitted") else entry
        for entry in entries
    ]


def revocations(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """All that was ever revoked, as x509_crl takes it: readmitted names too, whose old certificates stay out.

    >>> revocations([{"name": "a", "date": "2026-01-01T00:00:00Z", "serials": ["AB:01"]}])
    [{'serial_number': 'AB:01', 'revocation_date': '20260101000000Z'}]
    """
    return [
        {"serial_number": serial, "revocation_date": re.sub("[-:T]", "", entry["date"])}
        for entry in entries
        for serial in entry["serials"]
    ]


def systemd_word(text: str) -> str:
    """One argument of a command in a unit: a % is no specifier in it, a $ no variable, a blank no end.

    >>> print(systemd_word('50 % of $HOME'))
    "50 %% of $$HOME"
    """
    return '"' + "".join(_SYSTEMD.get(letter, letter) for letter in text) + '"'


def systemd_path(text: str) -> str:
    """A path that is a unit's whole setting, where nothing but a % has a meaning.

    >>> systemd_path("/srv/50 %")
    '/srv/50 %%'
    """
    return text.replace("%", "%%")


def _serial(number: int) -> str:
    """As x509_crl takes it with `serial_numbers: hex-octets`."""
    return number.to_bytes((number.bit_length() + 7) // 8).hex(":").upper()


def _moment(text: str | None) -> datetime:
    return datetime.now(UTC) if text is None else datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)


def _alt_name(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"
