"""The guard of descriptors 1 and 2, in processes of its own, whose outputs are what a journal would get."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from typing import Final

import pytest

SECRET: Final = "hunter2-secret"

PREAMBLE: Final = f"""
import ctypes, faulthandler, os, subprocess, sys, threading, time
from agent.adapters.logs.scrub import Scrubber
from agent.adapters.logs.output_guard import OutputGuard
scrubber = Scrubber()
scrubber.register_secret({SECRET!r})
guard = OutputGuard(scrubber=scrubber)
if "unguarded" not in sys.argv:
    guard.start()
"""

OPEN_CAMERA: Final = """
os.environ["OPENCV_LOG_LEVEL"] = "DEBUG"
import cv2
assert not cv2.VideoCapture("rtsp://admin:hunter2-secret@127.0.0.1:1/live").isOpened()
assert not cv2.VideoCapture("rtsp://admin:other-pw@127.0.0.1:1/live").isOpened()
os.write(2, b"end of test\\n")
guard.close()
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        # What the agent's cameras have set for this process would hide what is looked for. And buffered, as
        # under systemd: the C library holds back what libraries print, until the process ends.
        env={
            name: value
            for name, value in os.environ.items()
            if not name.startswith("OPENCV_") and name != "PYTHONUNBUFFERED"
        },
    )


def test_what_opencv_and_ffmpeg_print_of_an_address_is_scrubbed() -> None:
    leaking = run(OPEN_CAMERA, "unguarded")
    guarded = run(OPEN_CAMERA)
    # The first half shows that the second one could fail: OpenCV does print the address.
    assert SECRET in leaking.stdout + leaking.stderr
    assert "other-pw" in leaking.stdout + leaking.stderr
    assert (leaking.returncode, guarded.returncode) == (0, 0)
    assert guarded.stdout == ""
    assert not any(secret in guarded.stderr for secret in (SECRET, "other-pw"))
    assert "rtsp://***@127.0.0.1:1/live" in guarded.stderr
    assert "Connection refused" in guarded.stderr
    assert "end of test" in guarded.stderr.splitlines()


@pytest.mark.ffmpeg
def test_what_a_childs_ffmpeg_prints_of_an_address_is_scrubbed() -> None:
    script = """
        camera = "rtsp://admin:other-pw@127.0.0.1:1/live"
        subprocess.run(["ffmpeg", "-nostdin", "-i", camera, "-f", "null", "-"])
        guard.close()
    """
    leaking, guarded = run(script, "unguarded"), run(script)
    assert "other-pw" in leaking.stderr
    assert "other-pw" not in guarded.stderr + guarded.stdout
    assert "rtsp://***@127.0.0.1:1/live" in guarded.stderr


def test_stdout_is_the_logs_alone() -> None:
    done = run(
        """
        from agent.adapters.logs.configure import configure_logging
        import structlog
        logging = configure_logging(stream=guard.log_stream, scrubber=scrubber)
        os.write(1, b"raw on stdout hunter2-secret\\n")
        print("printed hunter2-secret")
        structlog.get_logger().warning("a.b", password="x", by="hunter2-secret")
        logging.close()
        guard.close()
        print("after close")
        """
    )
    logged, after = done.stdout.splitlines()
    assert {**json.loads(logged), "time": ""} == {
        "time": "",
        "level": "warning",
        "event": "a.b",
        "password": "***",
        "by": "***",
    }
    assert after == "after close"
    assert sorted(done.stderr.splitlines()) == ["printed ***", "raw on stdout ***"]


def test_raw_writes_children_and_python_are_scrubbed_and_nothing_is_lost() -> None:
    done = run(
        """
        os.write(2, b"raw hunter2-")
        os.write(2, b"secret rtsp://u:pw@cam/1\\n")
        child = "import os; os.write(2, b'child hunter2-secret' + bytes([10]))"
        subprocess.run([sys.executable, "-c", child], check=True)
        print("python hunter2-secret", "rtsp://u:pw@cam/2", file=sys.stderr)
        sys.stderr.write("prompt hunter2-secret> ")
        os.write(2, b"no end hunter2-secret")
        guard.close()
        os.write(2, b"after close\\n")
        print("python again", file=sys.stderr)
        """
    )
    assert done.returncode == 0
    assert "hunter2" not in done.stderr
    assert "pw" not in done.stderr
    # Python's own lines go beside the pipe, so only the order within each way is certain.
    told = done.stderr.replace("prompt ***> ", "").splitlines()
    assert sorted(told[:-2]) == [
        "child ***",
        "no end ***",
        "python *** rtsp://***@cam/2",
        "raw *** rtsp://***@cam/1",
    ]
    assert told[-2:] == ["after close", "python again"]
    assert "prompt ***> " in done.stderr


def test_the_last_traceback_of_an_uncaught_exception_gets_through() -> None:
    done = run("raise ValueError('rtsp://u:pw@cam/ hunter2-secret')")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: rtsp://***@cam/ ***"


@pytest.mark.parametrize(("how", "number"), [("_sigsegv", signal.SIGSEGV), ("_sigabrt", signal.SIGABRT)])
def test_a_crash_in_native_code_still_tells_where(how: str, number: signal.Signals) -> None:
    done = run(
        f"""
        def deep_in_the_agent():
            faulthandler.{how}()
        deep_in_the_agent()
        """
    )
    assert done.returncode == -number
    assert "Fatal Python error" in done.stderr
    assert "deep_in_the_agent" in done.stderr


def test_a_library_that_prints_while_it_holds_the_gil_does_not_hang_the_process() -> None:
    done = run(
        """
        libc = ctypes.PyDLL(None)  # unlike CDLL it keeps the GIL during a call
        line = b"flood hunter2-secret\\n" * 500
        lost = 0
        for _ in range(400):  # 4 MB: the pipe holds 1
            lost += libc.write(2, line, len(line)) < len(line)
        guard.close()
        print(lost)
        """
    )
    assert done.returncode == 0
    assert int(done.stdout) > 0
    assert "hunter2" not in done.stderr
    assert "flood ***" in done.stderr
    assert "more lines were left out here" in done.stderr


def test_a_line_too_long_is_cut_and_one_without_end_told_after_a_pause() -> None:
    script = PREAMBLE + textwrap.dedent(
        """
        os.write(2, b"x" * 20_000 + b" hunter2-secret " + b"y" * 20_000 + b"\\nshort\\nno end")
        sys.stdin.read()
        os._exit(0)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        long, short, waiting = (process.stderr.readline() for _ in range(3))
        assert process.poll() is None  # the last one came while its writer still lived
        process.communicate(timeout=20)
    assert long.startswith("xxx")
    assert len(long) < 8_300
    assert (short, waiting) == ("short\n", "no end\n")


def test_nobody_reading_the_real_stderr_stops_nobody() -> None:
    script = PREAMBLE + textwrap.dedent(
        """
        for _ in range(3000):
            try:
                os.write(2, b"z" * 1000 + b"\\n")
            except BlockingIOError:
                pass
        print("went on", file=guard.log_stream, flush=True)
        os._exit(0)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "went on\n"
        assert process.wait(timeout=20) == 0
