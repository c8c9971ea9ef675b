"""Where threads are, and what the process runs on, without what they hold."""

import sys
import threading

from agent.adapters.system.stacks import thread_stacks
from agent.adapters.system.versions import versions


def test_every_thread_is_found_by_its_name_without_its_variables() -> None:
    release, ready = threading.Event(), threading.Event()

    def wait_for_release(secret: str) -> None:
        ready.set()
        release.wait(10)
        assert secret

    thread = threading.Thread(target=wait_for_release, args=("planted-secret",), name="capture[door]")
    thread.start()
    try:
        assert ready.wait(10)
        stacks = thread_stacks()
    finally:
        release.set()
        thread.join()
    assert any(line.endswith(" wait_for_release") for line in stacks["capture[door]"])
    assert stacks["capture[door]"][-1].startswith(("threading.py", "python3", "lib/python3"))
    assert "MainThread" in stacks
    assert "planted-secret" not in str(stacks)


def test_two_threads_of_one_name_are_two() -> None:
    release = threading.Event()
    threads = [threading.Thread(target=release.wait, args=(10,), name="twin") for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        names = [name for name in thread_stacks() if name.partition("#")[0] == "twin"]
    finally:
        release.set()
        for thread in threads:
            thread.join()
    assert len(names) == 2


def test_a_deep_stack_is_cut() -> None:
    def sink(depth: int) -> dict[str, list[str]]:
        return sink(depth - 1) if depth else thread_stacks()

    (own,) = [lines for name, lines in sink(60).items() if name == threading.current_thread().name]
    assert len(own) == 15
    assert own[-1].endswith(" thread_stacks")


def test_versions_name_what_a_report_of_a_fault_needs() -> None:
    found = versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"numpy", "paho-mqtt", "sqlite", "openssl", "machine"} <= set(found)
    assert any(name.startswith("onnxruntime") for name in found)
