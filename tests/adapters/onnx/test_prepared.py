"""The cache of rewritten graphs and the child that fills it: real processes, real files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from agent.adapters.onnx import load_model
from agent.adapters.onnx.detector import OnnxDetector
from agent.adapters.onnx.prepared import PreparedGraphs
from agent.adapters.onnx.preparing import COMMAND, Rewrite, prepare_in_child
from agent.domain.errors import RefusedError, TransientError
from agent.domain.thresholds import Thresholds
from agent.ports import Look
from tests.onnx_files import colour_detector
from tests.yolov8_files import yolov8_file

NEVER = (sys.executable, "-c", "raise SystemExit('this child was not to be started')")


def scripted(body: str) -> tuple[str, ...]:
    """A stand-in for the child: `out` is where it is to write, `started` is a file beside that."""
    lines = "import json, pathlib, sys, time; out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1]); "
    lines += "log = out.parent.parent / 'started'; log.open('a').write('.'); "
    return (sys.executable, "-c", lines + body)


WRITES = scripted(
    "out.write_bytes(b'graph'); print(json.dumps({'graph': 'cut', 'reasons': []}))",
)


def serve(graphs: PreparedGraphs, model: Path, rewrite: Rewrite = "cut", runtime: str = "1.0") -> Path | None:
    served = graphs.serve(model, rewrite=rewrite, runtime_version=runtime)
    return None if served is None else served.path


def starts(tmp_path: Path) -> int:
    started = tmp_path / "started"
    return len(started.read_text()) if started.exists() else 0


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return yolov8_file(tmp_path / "model.onnx", class_bias=0.0)


def test_the_child_makes_what_the_agent_serves(tmp_path: Path, model: Path) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "state" / "graphs")
    loaded = load_model(name="m", path=model, rewrite="cut", prepared=graphs)
    again = load_model(
        name="m",
        path=model,
        rewrite="cut",
        prepared=PreparedGraphs(folder=tmp_path / "state" / "graphs", command=NEVER),
    )
    plain = load_model(name="m", path=model)
    assert isinstance(plain, OnnxDetector)
    assert plain.facts.graph == "exported"
    pixels = np.random.default_rng(3).integers(0, 256, (90, 120, 3), np.uint8)
    (wanted,), _ = plain.detect([Look(pixels, Thresholds())])
    assert len(wanted)
    for one in (loaded, again):
        assert isinstance(one, OnnxDetector)
        assert (one.facts.graph, one.facts.precision) == ("cut", "fp32")
        assert one.facts.sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
        (found,), _ = one.detect([Look(pixels, Thresholds())])
        np.testing.assert_allclose(found.boxes, wanted.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.confidence, wanted.confidence, rtol=0, atol=1e-5)


def test_exact_is_left_to_the_cpu(tmp_path: Path, model: Path) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=NEVER)
    loaded = load_model(name="m", path=model, provider="cuda", rewrite="exact", prepared=graphs)
    assert loaded.facts.graph == "exported"


def test_a_file_that_is_not_the_one_asked_for_is_not_rewritten(tmp_path: Path, model: Path) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=NEVER)
    with pytest.raises(RefusedError, match="it is another file"):
        load_model(name="m", path=model, sha256="0" * 64, rewrite="cut", prepared=graphs)


@pytest.mark.parametrize("rewrite", ["exact", "cut"])
def test_a_model_without_anything_to_rewrite_starts_no_child(tmp_path: Path, rewrite: Rewrite) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=NEVER)
    path = colour_detector(tmp_path / "colours.onnx")
    with capture_logs() as logs:
        assert serve(graphs, path, rewrite) is None
    assert logs == []
    assert not (tmp_path / "graphs").exists()


def test_off_starts_no_child(tmp_path: Path, model: Path) -> None:
    assert serve(PreparedGraphs(folder=tmp_path / "graphs", command=NEVER), model, "off") is None


def test_each_model_rewrite_and_runtime_has_its_own(tmp_path: Path, model: Path) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=WRITES)
    other = yolov8_file(tmp_path / "other.onnx", seed=1)
    asked: list[tuple[Path, Rewrite, str]] = [
        (model, "cut", "1.0"),
        (other, "cut", "1.0"),
        (model, "exact", "1.0"),
        (model, "cut", "1.1"),
    ]
    served = {serve(graphs, *one) for one in asked * 2}
    assert len(served) == 4
    assert starts(tmp_path) == 4


def test_a_damaged_graph_is_noticed_and_made_anew(tmp_path: Path, model: Path) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=WRITES)
    path = serve(graphs, model)
    assert path is not None
    path.write_bytes(b"grapf")
    with capture_logs() as logs:
        assert serve(graphs, model) == path
    assert [entry["event"] for entry in logs] == ["model.prepared_damaged", "model.rewriting"]
    assert path.read_bytes() == b"graph"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"graph": "cut"}', "null"])
def test_a_damaged_note_is_noticed_and_made_anew(tmp_path: Path, model: Path, content: str) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=WRITES)
    path = serve(graphs, model)
    assert path is not None
    path.with_suffix(".json").write_text(content)
    assert serve(graphs, model) == path
    assert starts(tmp_path) == 2


def test_a_graph_without_its_note_is_made_anew(tmp_path: Path, model: Path) -> None:
    """As after a crash between the two."""
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=WRITES)
    path = serve(graphs, model)
    assert path is not None
    path.with_suffix(".json").unlink()
    assert serve(graphs, model) == path
    assert starts(tmp_path) == 2


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (scripted("sys.exit('no room for it')"), "its process ended with 1: no room for it"),
        (scripted("print('hello')"), "its process said b'hello\\n'"),
        (scripted("print(json.dumps({'graph': 'better', 'reasons': []}))"), "its process made 'better'"),
        (("/none/such",), "its process did not start: No such file or directory"),
    ],
    ids=["fails", "babbles", "makes something else", "is not there"],
)
def test_a_child_that_fails_is_told_and_the_exported_graph_serves(
    tmp_path: Path, model: Path, command: tuple[str, ...], reason: str
) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=command)
    for _ in range(2):
        with capture_logs() as logs:
            loaded = load_model(name="m", path=model, rewrite="cut", prepared=graphs)
        assert loaded.facts.graph == "exported"
        told = [entry for entry in logs if entry["event"] == "model.rewrite_unavailable"]
        assert [entry["reason"] for entry in told] == [reason]
        assert told[0]["log_level"] == "warning"
    assert starts(tmp_path) <= 1, "a child that failed was started again at once"


def test_a_child_that_failed_is_tried_again_after_a_day(tmp_path: Path, model: Path) -> None:
    assert serve(PreparedGraphs(folder=tmp_path / "graphs", command=scripted("sys.exit(1)")), model) is None
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=WRITES)
    assert serve(graphs, model) is None
    (note,) = (tmp_path / "graphs").glob("*.json")
    yesterday = note.stat().st_mtime - 90_000
    os.utime(note, (yesterday, yesterday))
    assert serve(graphs, model) is not None


def test_a_child_that_was_killed_is_tried_again_at_the_next_start(tmp_path: Path, model: Path) -> None:
    killed = PreparedGraphs(
        folder=tmp_path / "graphs", command=scripted("import os; os.kill(os.getpid(), 9)")
    )
    with capture_logs() as logs:
        assert serve(killed, model) is None
    (told,) = [entry for entry in logs if entry["event"] == "model.rewrite_unavailable"]
    assert told["reason"] == "its process was ended by SIGKILL"
    assert serve(PreparedGraphs(folder=tmp_path / "graphs", command=WRITES), model) is not None
    assert starts(tmp_path) == 2


def test_a_child_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path, model: Path) -> None:
    command = scripted(
        "import subprocess; child = subprocess.Popen(['sleep', '600']); "
        "(out.parent.parent / 'pid').write_text(str(child.pid)); time.sleep(600)"
    )
    (tmp_path / "graphs").mkdir()
    with pytest.raises(TransientError, match="it took longer than 3 s"):
        prepare_in_child(
            model, rewrite="cut", out=tmp_path / "graphs" / "out.onnx", time_limit_s=3, command=command
        )
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", (tmp_path / "pid").read_text()],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    assert state in {"", "Z", "Z+", "Zs"}


def test_the_child_has_no_settings_of_ours(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NANOFLEET_BROKER__PASSWORD", "secret")
    command = scripted("import os; print(json.dumps({'graph': 'exported', 'reasons': sorted(os.environ)}))")
    (tmp_path / "graphs").mkdir()
    out = tmp_path / "graphs" / "out.onnx"
    outcome = prepare_in_child(model, rewrite="cut", out=out, time_limit_s=30, command=command)
    assert "PATH" in outcome.reason
    assert "NANOFLEET" not in outcome.reason


def test_without_the_package_onnx_the_exported_graph_serves(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=NEVER)
    with capture_logs() as logs:
        assert serve(graphs, model) is None
    assert [entry["reason"] for entry in logs] == ["the package onnx is not installed (extra `models`)"]
    assert not (tmp_path / "graphs").exists(), "nothing is remembered: it may be installed tomorrow"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, model: Path) -> None:
    (tmp_path / "file").write_text("")
    graphs = PreparedGraphs(folder=tmp_path / "file" / "graphs", command=NEVER)
    with capture_logs() as logs:
        assert serve(graphs, model) is None
    assert [entry["event"] for entry in logs] == ["model.rewrite_unavailable"]
    assert "cannot be used: Not a directory" in logs[0]["reason"]


def test_the_agent_itself_never_imports_onnx(tmp_path: Path, model: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from agent.adapters.onnx import load_model; "
        "from agent.adapters.onnx.prepared import PreparedGraphs; "
        f"m = load_model(name='m', path=Path({str(model)!r}), rewrite='cut', "
        f"prepared=PreparedGraphs(folder=Path({str(tmp_path / 'graphs')!r}))); "
        "print(m.facts.graph, 'onnx' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=50
    )
    assert done.stdout.splitlines()[-1] == "cut False"


def test_a_cut_that_does_not_apply_is_told_quietly(tmp_path: Path) -> None:
    other = yolov8_file(tmp_path / "model.onnx", bins=np.full(16, 2, np.float32))
    graphs = PreparedGraphs(folder=tmp_path / "graphs")
    with capture_logs() as logs:
        served = load_model(name="m", path=other, rewrite="cut", prepared=graphs)
    assert served.facts.graph == "exact"
    (told,) = [entry for entry in logs if entry["event"] == "model.rewrite_does_not_apply"]
    assert (told["used"], told["log_level"]) == ("exact", "info")
    assert told["reason"] == "cut: its boxes are no expectation over bins (DFL)"


def test_old_graphs_go_when_there_are_too_many_bytes(tmp_path: Path, model: Path) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=WRITES, most_bytes=10)
    paths = []
    for age, runtime in ((300, "1.0"), (200, "1.1"), (100, "1.2")):
        path = serve(graphs, model, runtime=runtime)
        assert path is not None
        note = path.with_suffix(".json")
        os.utime(note, (note.stat().st_mtime - age,) * 2)
        paths.append(path)
    assert [path.exists() for path in paths] == [False, True, True]
    assert serve(graphs, model, runtime="1.1") == paths[1], "one that was used stays longer"
    assert serve(graphs, model, runtime="1.3") is not None
    assert [path.exists() for path in paths] == [False, True, False]
    assert {file.suffix for file in (tmp_path / "graphs").iterdir()} == {".json", ".onnx"}


def test_the_number_of_graphs_is_bounded(tmp_path: Path, model: Path) -> None:
    graphs = PreparedGraphs(folder=tmp_path / "graphs", command=WRITES)
    first = serve(graphs, model)
    assert first is not None
    for number in range(30):
        note = first.with_name(f"{number:032x}.json")
        note.write_text(json.dumps({"graph": "exported", "sha256": None, "reason": "", "failed": False}))
        os.utime(note, (1_000_000 + number,) * 2)
    assert serve(graphs, model, runtime="2.0") is not None
    assert len(list((tmp_path / "graphs").glob("*.json"))) == 16


def test_what_an_interrupted_child_left_goes_after_an_hour(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    for name, age_s in ((".old.onnx-1.tmp", 7200), (".new.onnx-1.tmp", 60), ("old.onnx", 7200)):
        (folder / name).write_bytes(b"")
        made = (folder / name).stat().st_mtime - age_s
        os.utime(folder / name, (made, made))
    assert serve(PreparedGraphs(folder=folder, command=WRITES), model) is not None
    assert {file.name for file in folder.iterdir() if "-" in file.name or "old" in file.name} == {
        ".new.onnx-1.tmp"
    }


def test_the_command_is_this_programs_own() -> None:
    assert COMMAND[0] == sys.executable
    assert COMMAND[1:] == ("-P", "-m", "agent.cli", "model", "prepare")
