"""Which hosts are meant: exact names or addresses, `*.suffix`, or networks in CIDR notation."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator

_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
_HOST_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def check_host_rule(text: str) -> str:
    """`text` in lower case, if it says which hosts are meant.

    Raises:
        ValueError: it is no host name, no `*.suffix`, no address and no network.

    >>> check_host_rule("Camera-1.plant.example"), check_host_rule("10.1.0.0/16")
    ('camera-1.plant.example', '10.1.0.0/16')
    """
    rule = text.lower()
    if "/" in rule and "://" not in rule:
        try:
            return str(ipaddress.ip_network(rule))
        except ValueError as error:
            raise ValueError(f"{text[:80]!r} is no network ({error}); 10.1.0.0/16 would be one") from error
    if _address(rule) is None and not _HOST_NAME.fullmatch(rule.removeprefix("*.")):
        raise ValueError(
            f"{text[:80]!r} names no host; a host name, an address, *.plant.example or 10.1.0.0/16 is "
            "wanted, without scheme, user and port"
        )
    return rule


HostRule = Annotated[str, AfterValidator(check_host_rule)]


def is_covered(host: str, rules: Iterable[str]) -> bool:
    """Whether one of `rules` means `host`, a name or an address as it stands in a URL.

    Names are compared as they are written, never looked up: a network covers only hosts that are
    written as addresses, and `*.suffix` does not cover the suffix itself.

    >>> is_covered("door.plant.example", ["*.plant.example"]), is_covered("10.1.2.3", ["10.1.0.0/16"])
    (True, True)
    >>> is_covered("plant.example", ["*.plant.example"]), is_covered("10.1.2.3.example", ["10.1.0.0/16"])
    (False, False)
    """
    name = host.lower().removesuffix(".")
    address = _address(name)
    return any(_covers(rule, name, address) for rule in rules)


def _covers(rule: str, name: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if "/" in rule:
        return address is not None and address in ipaddress.ip_network(rule)
    if rule.startswith("*."):
        return address is None and name.endswith(rule[1:]) and len(name) > len(rule) - 1
    return name == rule or (address is not None and address == _address(rule))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
