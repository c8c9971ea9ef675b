"""Filters of the roles pki and broker: how much of a life is left, and names as certificates carry them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

_FORMAT: Final = "%Y%m%d%H%M%SZ"
_PAIRS: Final = (("not_before", "not_after"), ("last_update", "next_update"))


class FilterModule:
    """What Ansible looks for in a folder of filter plugins."""

    def filters(self) -> dict[str, Any]:
        """The filters by the names that templates use."""
        return {
            "life_left": life_left,
            "alt_names": alt_names,
            "in_force": in_force,
            "repeated": repeated,
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


def _moment(text: str | None) -> datetime:
    return datetime.now(UTC) if text is None else datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)


def _alt_name(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"
