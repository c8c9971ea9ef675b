"""`nanofleet run`: the agent itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.adapters.logs.configure import Level, Logging
    from agent.contract.policy import PolicyDocument
    from agent.report import RunReport
    from agent.settings import Settings


def run(
    settings_file: Annotated[
        Path, typer.Option("--settings", help="This node's settings, TOML.", metavar="FILE")
    ] = Path("/etc/nanofleet/agent.toml"),
    policy_file: Annotated[
        Path | None,
        typer.Option("--policy", help="The first policy. Default: what the settings name.", metavar="FILE"),
    ] = None,
    until_ended: Annotated[
        bool,
        typer.Option(
            "--until-ended", help="Leave when every camera has ended and the broker has everything."
        ),
    ] = False,
    report_file: Annotated[
        Path | None, typer.Option("--report", help="On leaving, write what was done as JSON.", metavar="FILE")
    ] = None,
) -> None:
    """Watch, infer and publish, until SIGTERM or Ctrl-C.

    SIGHUP reads the policy file again; it is tried as one from config/desired is: what changed takes effect,
    or is undone, and health and config/reported say so.
    Logs go to stdout: JSON, one event a line, or made for people where that is a terminal.
    Exit code 0 after an ordered stop, 78 when settings or policy are wrong, 1 when a stage failed.
    """
    # Without a handler it ends the process, and systemd takes that for an ordered end.
    hangups: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _frame: hangups.append(number))

    _import_structlog_alone()
    from agent.adapters.logs.configure import configure_logging
    from agent.adapters.logs.output_guard import OutputGuard
    from agent.adapters.logs.scrub import Scrubber
    from agent.cli.output_file import need_writable, write_output
    from agent.domain.errors import ConfigError, RefusedError, TransientError
    from agent.settings import load_policy, load_settings

    scrubber = Scrubber()
    # Before OpenCV and FFmpeg are loaded: what they print by themselves may hold credentials.
    guard = OutputGuard(scrubber=scrubber)
    guard.start()
    logging = configure_logging(stream=guard.log_stream, scrubber=scrubber)
    code = 1
    try:
        if report_file is not None:
            need_writable(report_file, option="--report")
        settings = load_settings(settings_file)
        for secret in settings.known_passwords():
            scrubber.register_secret(secret)
        logging.set_level(settings.log.level)
        read_policy = partial(load_policy, policy_file or settings.policy_file, settings)
        report = asyncio.run(
            _serve(
                settings,
                logging,
                read_policy=read_policy,
                asked_before=hangups,
                until_ended=until_ended,
                scrub=scrubber.text,
            )
        )
        if report_file is not None and report is not None:
            write_output(report_file, report.model_dump_json(indent=2) + "\n", option="--report")
        code = 0
    except TransientError as error:
        typer.echo(f"nanofleet: {error.message}", err=True)
    except (ConfigError, RefusedError) as error:
        typer.echo(f"nanofleet: {error.message}", err=True)
        # The unit does not start the agent again on this code, until somebody mends it.
        code = os.EX_CONFIG
    finally:
        if isinstance(unexpected := sys.exc_info()[1], Exception):
            # Here, where it is scrubbed: the interpreter would print it when the guard has gone.
            traceback.print_exception(unexpected)
        logging.close()
        sys.stderr.flush()
        guard.close()
        # A thread that hangs in a library would keep the interpreter from ending by itself.
        os._exit(code)


def _import_structlog_alone() -> None:
    """Without rich's tracebacks, and all that colours code for them: 4 MB that a node has no use for."""
    rich = sys.modules.get("rich")
    # Where a module stands as None, Python says that it is not installed.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401 for what it leaves out
    finally:
        del sys.modules["rich"]
        if rich is not None:
            sys.modules["rich"] = rich


async def _serve(
    settings: Settings,
    logging: Logging,
    *,
    read_policy: Callable[[], PolicyDocument],
    asked_before: Sequence[int],
    until_ended: bool,
    scrub: Callable[[str], str],
) -> RunReport | None:
    from agent.adapters.system.notify import Notifier
    from agent.launch import run_agent
    from agent.policies import Rereading

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reload = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    if asked_before:
        reload.set()
    return await run_agent(
        settings,
        stop=stop,
        rereading=Rereading(asked=reload, read=read_policy),
        until_ended=until_ended,
        notifier=Notifier(environment=os.environ),
        hand_on_warnings=logging.hand_on,
        scrub=scrub,
        set_log_level=lambda level: logging.set_level(cast("Level", level)),
    )
