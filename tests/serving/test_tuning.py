"""What a measurement holds for, and what is told of one that does not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters.onnx.session import sha256_of
from agent.adapters.system.processor import processor_name
from agent.domain.errors import RefusedError
from agent.serving.tuning import Lanes, Machine, Tuning, beside, read_tuning, write_tuning

MACHINE = Machine(onnxruntime="1.32.0", processor="Cortex-A57", cores=4)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"any bytes have a hash")
    return path


def tuning_of(model: Path) -> Tuning:
    one = Lanes(lanes=1, threads=4, spinning=True, arena=False)
    many = Lanes(lanes=4, threads=1, spinning=True, arena=True)
    return Tuning(model_sha256=sha256_of(model), provider="cpu", machine=MACHINE, alone=one, many=many)


def test_what_was_written_is_read(model: Path) -> None:
    assert read_tuning(beside(model)) is None
    write_tuning(tuning_of(model), beside(model))
    assert read_tuning(beside(model)) == tuning_of(model)
    assert beside(model).name == "m.onnx.tune.json"


def test_it_holds_for_the_same_model_on_the_same_machine(model: Path) -> None:
    assert tuning_of(model).why_stale(model, provider="cpu", machine=MACHINE) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"onnxruntime": "1.33.0"}, "this is Cortex-A57, 4 cores, ONNX Runtime 1.33.0"),
        ({"processor": "Cortex-A78AE"}, "measured on Cortex-A57"),
        ({"cores": 2}, "2 cores"),
    ],
)
def test_another_machine_makes_it_stale(model: Path, change: dict[str, object], told: str) -> None:
    why = tuning_of(model).why_stale(model, provider="cpu", machine=MACHINE.model_copy(update=change))
    assert why is not None
    assert told in why


def test_another_model_or_provider_makes_it_stale(model: Path) -> None:
    tuning = tuning_of(model)
    assert "the policy says cuda" in str(tuning.why_stale(model, provider="cuda", machine=MACHINE))
    model.write_bytes(b"other bytes")
    assert "another model file" in str(tuning.why_stale(model, provider="cpu", machine=MACHINE))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', "\0", "x" * 300_000])
def test_file_that_is_no_tuning_is_refused(model: Path, text: str) -> None:
    beside(model).write_text(text)
    with pytest.raises(RefusedError, match="is no tuning that this version knows"):
        read_tuning(beside(model))


def test_processor_is_named_by_the_kernel_or_the_board(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    assert processor_name(root=tmp_path)
    (tmp_path / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson Nano Developer Kit\0")
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nCPU part\t: 0xd07\n")
    assert processor_name(root=tmp_path) == "NVIDIA Jetson Nano Developer Kit"
    (tmp_path / "proc/cpuinfo").write_text("model name\t: Some CPU @ 2 GHz\n")
    assert processor_name(root=tmp_path) == "Some CPU @ 2 GHz"
