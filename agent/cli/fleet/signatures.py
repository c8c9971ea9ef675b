"""`nanofleet fleet keygen`, `sign` and `verify`: keys, and what they sign."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from agent.adapters.signing import JwsVerifier
    from agent.contract.signed import ControlKind, SignedHeader

DEFAULT_EXPIRY_S = {"policy": 2_592_000, "command": 300}
"""30 days and 5 minutes: within what a node takes by default."""

Document = Annotated[Path, typer.Argument(help="A file, or - for standard input.", metavar="FILE|-")]


def keygen(
    name: Annotated[
        str,
        typer.Argument(help="Name of the key, as nodes will know it: letters, digits, -.", metavar="NAME"),
    ],
    folder: Annotated[Path, typer.Option("--out", help="Where to put the pair.", metavar="FOLDER")] = Path(),
) -> None:
    """Make an Ed25519 pair: NAME.key to sign with, its owner's alone; NAME.pub for the nodes.

    Files that are there already are never replaced.
    """
    from agent.contract.places import check_name
    from agent.fleet.key_files import make_key_pair

    with _told("keygen"):
        try:
            check_name(name)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="NAME") from error
        files = make_key_pair(name, folder=folder)
    typer.echo(f"{files.private}: keep it closed; it never leaves the machine that signs", err=True)
    typer.echo(f"{files.public}: for each node, whose settings then have", err=True)
    typer.echo(
        f'[control.keys.{name}]\npublic_key_file = "/etc/nanofleet/keys/{files.public.name}"\n'
        'roles = ["policy", "command"]'
    )


def sign(
    document: Document,
    key_file: Annotated[Path, typer.Option("--key", help="The private key.", metavar="FILE")],
    kind: Annotated[
        Literal["policy", "command"], typer.Option("--kind", help="What it is. A policy may be YAML.")
    ],
    audience: Annotated[
        list[str],
        typer.Option("--for", help="A node, or all of a site: SITE/NODE, SITE/*. May occur again."),
    ],
    *,
    key_id: Annotated[
        str | None,
        typer.Option("--kid", help="The key's name in the nodes' settings. Default: its file's name."),
    ] = None,
    expires_in_s: Annotated[
        int | None,
        typer.Option(
            "--expires-in", min=1, help="Seconds that it is good for. Default: policy 30 days, command 300."
        ),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option("--issuer", help="In whose name. Default: the document's, else the key's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it there instead of printing it.", metavar="FILE")
    ] = None,
) -> None:
    """Date a policy or a command, check it, and sign it for the nodes that it is meant for.

    What comes out is published as it is, where the document alone would be: on config/desired, retained, or
    on command/OP/ID. Exit code 65 if no node would take the document, 78 if the key cannot be used.
    """
    from agent.cli.output_file import write_output
    from agent.fleet import signing
    from agent.fleet.key_files import read_private_key

    with _told("sign"):
        key_id = key_id or key_file.stem
        body = signing.stamped(
            _read(document),
            kind=kind,
            issuer=issuer,
            signer=key_id,
            now_s=time.time(),
            expires_in_s=DEFAULT_EXPIRY_S[kind] if expires_in_s is None else expires_in_s,
        )
        jws = signing.sign(body, kind=kind, key=read_private_key(key_file), key_id=key_id, audience=audience)
        if out is None:
            typer.echo(jws)
        else:
            write_output(out, jws + "\n", option="--out")


def verify(
    document: Document,
    settings_file: Annotated[
        Path | None, typer.Option("--settings", help="As the node with these settings would.", metavar="FILE")
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--keys", help="Instead: a public key. May occur again.", metavar="NAME=FILE"),
    ] = None,
    node: Annotated[
        str | None, typer.Option("--for", help="With --keys: the node.", metavar="SITE/NODE")
    ] = None,
) -> None:
    """Say whether a node would take what was signed, and until when.

    With --keys, roles, issuers and ages that a node's settings allow are not judged. This machine's clock is
    taken for right. Exit code 65 if it would not, 78 if settings or keys are wrong.
    """
    from agent.contract.origin import read_origin
    from agent.contract.signed import is_signed, read_header
    from agent.domain.errors import Code, RefusedError
    from agent.domain.stamp import utc_text

    with _told("verify"):
        payload = _read(document)
        if not is_signed(payload):
            raise RefusedError("it is not signed", code=Code.SIGNATURE)
        header = read_header(payload.strip())
        verifier = _verifier(settings_file, keys or [], node)
        origin = read_origin(verifier.open(payload, kind=_kind_of(header)))
    typer.echo(
        f"good until {utc_text(origin.expires_s)}: a {_kind_of(header)} of {utc_text(origin.issued_s)}, "
        f"issued by {origin.issuer}, signed by {header.key_id} for {', '.join(header.audience)}"
    )


def _verifier(settings_file: Path | None, keys: list[str], node: str | None) -> JwsVerifier:
    from agent.adapters.signing import JwsVerifier, TrustedKey
    from agent.cli.wall_clock import WallClock
    from agent.settings import load_settings
    from agent.settings.public_keys import read_public_key
    from agent.trust import control_verifier

    if (settings_file is None) == (not keys):
        raise typer.BadParameter("either --settings or --keys is wanted")
    if settings_file is not None:
        return control_verifier(load_settings(settings_file, look_at_files=False), clock=WallClock())
    pairs = [pair.partition("=") for pair in keys]
    site, slash, name = (node or "").partition("/")
    if not slash or not all(equals for _, equals, _ in pairs):
        raise typer.BadParameter("--keys NAME=FILE goes with --for SITE/NODE")
    return JwsVerifier(
        site=site,
        node=name,
        keys=[
            TrustedKey(key_id, read_public_key(Path(file)), frozenset({"policy", "command"}), issuers=None)
            for key_id, _, file in pairs
        ],
        require_signed=True,
        max_age_s=dict.fromkeys(("policy", "command"), float("inf")),
        clock=WallClock(),
    )


def _kind_of(header: SignedHeader) -> ControlKind:
    from agent.contract.signed import TYPES
    from agent.domain.errors import Code, RefusedError

    for kind, name in TYPES.items():
        if name == header.type:
            return kind
    raise RefusedError(
        f"it was signed as {header.type[:60]!r}, which is no policy or command", code=Code.SIGNATURE
    )


def _read(document: Path) -> bytes:
    """At most a little more than a node would look at."""
    from agent.contract.signed import MAX_SIGNED_BYTES
    from agent.domain.errors import Code, ConfigError

    if str(document) == "-":
        return sys.stdin.buffer.read(MAX_SIGNED_BYTES + 3)
    try:
        with document.open("rb") as file:
            return file.read(MAX_SIGNED_BYTES + 3)
    except OSError as error:
        raise ConfigError(f"{document} cannot be read: {error.strerror}", code=Code.FILE) from error


@contextmanager
def _told(command: str) -> Iterator[None]:
    """Turn our errors into a sentence on stderr and an exit code."""
    from agent.domain.errors import ConfigError, NanofleetError

    try:
        yield
    except NanofleetError as error:
        typer.echo(f"nanofleet fleet {command}: {error.message}", err=True)
        raise typer.Exit(os.EX_CONFIG if isinstance(error, ConfigError) else os.EX_DATAERR) from error
