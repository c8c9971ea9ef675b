"""Where a network camera is, how to log in there, and what may be said of it in a log."""

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import md5
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import quote, urlsplit, urlunsplit

_PORTS: Final = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The parts of a camera's address. `resource` is path and query."""

    scheme: str
    host: str
    port: int
    resource: str
    credentials: tuple[str, str] | None = field(repr=False)

    @classmethod
    def parse(cls, url: str, credentials: tuple[str, str] | None) -> Self:
        """`url` is without credentials.

        Raises:
            ValueError: it is no address with a host; the message does not repeat it.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("an address such as rtsp://camera.example:554/stream is wanted")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=parts.port or _PORTS[parts.scheme],
            resource=urlunsplit(("", "", parts.path, parts.query, "")),
            credentials=credentials,
        )

    @property
    def is_rtsp(self) -> bool:
        return self.scheme.startswith("rtsp")

    @property
    def is_tls(self) -> bool:
        return self.scheme.endswith("s")

    @property
    def is_hls(self) -> bool:
        return self.resource.partition("?")[0].endswith(".m3u8")

    @property
    def address(self) -> str:
        """Host and port, as a URL has them."""
        return f"{self._url_host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}{self.resource}"

    @property
    def shown(self) -> str:
        """For people: without the query, which often holds a password or a token."""
        return self.url.partition("?")[0]

    @property
    def url_with_credentials(self) -> str:
        """For the call that opens it, and for nothing else."""
        if self.credentials is None:
            return self.url
        userinfo = ":".join(quote(part, safe="") for part in self.credentials)
        return f"{self.scheme}://{userinfo}@{self.address}{self.resource}"

    @property
    def is_numeric(self) -> bool:
        """Whether the host is an address already, so that no name has to be looked up."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def _url_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def authorization(
    challenges: Iterable[str], *, credentials: tuple[str, str], method: str, uri: str
) -> str | None:
    """The Authorization header that answers a server's WWW-Authenticate headers; None where we cannot.

    Source: RFC 7617 (Basic), RFC 7616 (Digest), here with MD5, as cameras have it.
    """
    user, password = credentials
    by_scheme = {challenge.split(" ", 1)[0].lower(): challenge for challenge in challenges}
    if "digest" in by_scheme:
        asked = {
            name.lower(): quoted or plain
            for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', by_scheme["digest"])
        }
        if asked.get("algorithm", "MD5").upper() != "MD5" or not {"realm", "nonce"} <= asked.keys():
            return None
        secret = _md5(f"{user}:{asked['realm']}:{password}")
        request = _md5(f"{method}:{uri}")
        fields = {"username": user, "realm": asked["realm"], "nonce": asked["nonce"], "uri": uri}
        if "auth" in asked.get("qop", ""):
            middle, tail = "00000001:6e616e6f:auth", ', qop=auth, nc=00000001, cnonce="6e616e6f"'
        else:
            middle, tail = "", ""
        parts = [secret, asked["nonce"], *([middle] if middle else []), request]
        fields["response"] = _md5(":".join(parts))
        if "opaque" in asked:
            fields["opaque"] = asked["opaque"]
        return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items()) + tail
    if "basic" in by_scheme:
        return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    return None


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
