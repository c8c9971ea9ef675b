"""Throwaway certificates: a CA, a server and a client a name, valid for this demo only."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Identity:
    """Files in PEM: who to trust, who one is, and the key (readable by its owner only)."""

    ca_file: Path
    cert_file: Path
    key_file: Path


class ThrowawayAuthority:
    """A certificate authority that lives as long as `folder` does."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA(organization_name="nanofleet demo")
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca_file)

    def server(self, host: str) -> Identity:
        """For the broker, under its host name or address."""
        return self._write("server", self._authority.issue_cert(host))

    def client(self, name: str) -> Identity:
        """For a client, whose name is the certificate's CN."""
        issued = self._authority.issue_cert(f"{name}.nanofleet.invalid", common_name=name)
        return self._write(name, issued)

    def _write(self, name: str, issued: trustme.LeafCert) -> Identity:
        cert_file, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key_file.touch(mode=0o600)
        key_file.write_bytes(issued.private_key_pem.bytes())
        return Identity(self.ca_file, cert_file, key_file)
