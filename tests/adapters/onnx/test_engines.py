"""Where engines lie on disk, and for which shapes they are built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.adapters.onnx.accelerator import Accelerator
from agent.adapters.onnx.engines import EngineCache, Range, shapes_for
from agent.adapters.onnx.gpu import Gpu, read_gpu, tensorrt_version
from agent.adapters.onnx.session import TensorSpec
from agent.vision.letterbox import Size

PICTURE = TensorSpec("images", (None, 3, None, None), "float32")
SIZES = TensorSpec("orig_target_sizes", (None, 2), "int64")
ORIN = Gpu("Orin", "8.7", "12.6")


def open_shapes(max_batch: int = 4) -> Range:
    return shapes_for(
        [PICTURE, SIZES],
        least=Size(32, 32),
        usual=Size(384, 640),
        greatest=Size(640, 640),
        max_batch=max_batch,
    )


def cache(root: Path, **changes: Any) -> EngineCache:
    said: dict[str, Any] = {
        "model_sha256": "ab" * 32,
        "shapes": open_shapes(),
        "accelerator": Accelerator(precision="fp16"),
        "gpu": ORIN,
        "tensorrt": "101303",
        "onnxruntime": "1.31.1",
    }
    return EngineCache(root, **(said | changes))


def test_open_sides_go_from_the_least_to_the_greatest_batch_and_size(tmp_path: Path) -> None:
    options = cache(tmp_path).options()
    assert options.least == "images:1x3x32x32,orig_target_sizes:1x2"
    assert options.usual == "images:1x3x384x640,orig_target_sizes:1x2"
    assert options.greatest == "images:4x3x640x640,orig_target_sizes:4x2"


def test_a_file_of_fixed_shapes_needs_no_profile(tmp_path: Path) -> None:
    fixed = TensorSpec("images", (1, 3, 640, 640), "float32")
    shapes = shapes_for(
        [fixed], least=Size(32, 32), usual=Size(384, 640), greatest=Size(640, 640), max_batch=1
    )
    assert shapes.fixed
    options = cache(tmp_path, shapes=shapes).options()
    assert (options.least, options.usual, options.greatest) == ("", "", "")


def test_an_engine_serves_only_what_it_was_built_for(tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [
        {"model_sha256": "cd" * 32},
        {"shapes": open_shapes(max_batch=1)},
        {"accelerator": Accelerator()},
        {"accelerator": Accelerator(precision="fp16", gpu_mem_limit_mb=512)},
        {"gpu": Gpu("Orin", "8.6", "12.6")},
        {"gpu": Gpu("Xavier", "8.7", "12.6")},
        {"tensorrt": "100900"},
        {"onnxruntime": "1.32.0"},
    ]
    folders = {cache(tmp_path, **changes).folder for changes in [{}, *others]}
    assert len(folders) == 1 + len(others)
    assert cache(tmp_path).folder == cache(tmp_path).folder
    # A newer driver runs what an older one did.
    assert cache(tmp_path, gpu=Gpu("Orin", "8.7", "13.0")).folder == cache(tmp_path).folder


def test_an_engine_that_was_not_built_to_its_end_is_built_anew(tmp_path: Path) -> None:
    engine = cache(tmp_path)
    engine.prepare()
    (engine.folder / "half.engine").write_bytes(b"half")
    assert not engine.is_ready
    engine.prepare()
    assert not list(engine.folder.iterdir())
    engine.mark_ready()
    assert cache(tmp_path).is_ready
    engine.discard()
    assert not cache(tmp_path).is_ready


def test_old_engines_go_before_the_disk_is_full_of_them(tmp_path: Path) -> None:
    for number in range(20):
        engine = cache(tmp_path, model_sha256=f"{number:02d}" * 32)
        engine.prepare()
        engine.mark_ready()
    kept = [each.name for each in tmp_path.iterdir() if not each.name.startswith("timings-")]
    assert len(kept) == 8
    assert cache(tmp_path, model_sha256="19" * 32).is_ready


class Driver:
    """As libcuda.so.1 and libnvinfer.so.10 answer; `status` is what every call returns."""

    def __init__(self, *, init: int = 0, device: int = 0) -> None:
        self._init = init
        self._device = device

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self._init

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 12060
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        device._obj.value = number
        return self._device

    def cuDeviceGetName(self, name: Any, _length: int, _device: Any) -> int:  # noqa: N802
        name.value = b"Orin"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, _device: Any) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 7}[attribute]
        return 0

    def getInferLibVersion(self) -> int:  # noqa: N802
        return 101303


def missing(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file: No such file or directory")


def only_10(name: str) -> Any:
    return Driver() if name == "libnvinfer.so.10" else missing(name)


def test_the_driver_names_the_gpu() -> None:
    assert read_gpu(0, load=lambda _name: Driver()) == ORIN


def test_a_gpu_that_is_not_there_is_unknown() -> None:
    assert read_gpu(0, load=missing) == Gpu()
    assert read_gpu(0, load=lambda _name: Driver(init=100)) == Gpu()
    assert read_gpu(7, load=lambda _name: Driver(device=101)) == Gpu(driver="12.6")


def test_tensorrt_tells_its_version() -> None:
    assert tensorrt_version(load=only_10) == "101303"
    assert tensorrt_version(load=missing) == "unknown"
