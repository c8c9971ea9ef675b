"""What a run that was broken off leaves on a node."""

from __future__ import annotations

from tools.fleet_lab.host import Host

_HALF_A_RELEASE = """\
set -e
place=/opt/nanofleet/releases/{version}/lib/python3.11/site-packages/nanofleet-{version}.dist-info
mkdir -p "$place"
printf 'Metadata-Version: 2.1\\nName: nanofleet\\nVersion: {version}\\n' >"$place/METADATA"
echo pip >"$place/INSTALLER"
: >"$place/RECORD"
"""
_HALF_AN_INTERPRETER = """\
set -e
mkdir -p /opt/nanofleet/python/{name}/bin
: >/opt/nanofleet/python/{name}/bin/python3
"""


def half_a_release(host: Host, version: str) -> None:
    """pip was killed when it had noted what it installs: asked again, it would find it installed."""
    host.run("sudo", "sh", "-c", _HALF_A_RELEASE.format(version=version))


def half_an_interpreter(host: Host, sha256: str) -> None:
    """Unpacked as far as its program, which cannot run."""
    host.run("sudo", "sh", "-c", _HALF_AN_INTERPRETER.format(name=sha256[:12]))
