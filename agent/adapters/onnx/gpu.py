"""Which GPU and which TensorRT are here: an engine serves those it was built with, and no others."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

Load = Callable[[str], Any]

_DRIVER: Final = "libcuda.so.1"
_TENSORRT: Final = ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8")
_CAPABILITY_MAJOR: Final = 75
_CAPABILITY_MINOR: Final = 76
_NAME_BYTES: Final = 256
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Gpu:
    """`capability` as CUDA writes it, 8.7; `driver` is the CUDA version that the driver knows, 12.6."""

    name: str = UNKNOWN
    capability: str = UNKNOWN
    driver: str = UNKNOWN


def read_gpu(number: int, *, load: Load = ctypes.CDLL) -> Gpu:
    """The GPU of that number, told by the driver: a Jetson has no nvidia-smi. Unknown where there is none.

    Source: CUDA Driver API: cuInit, cuDriverGetVersion, cuDeviceGet, cuDeviceGetName, cuDeviceGetAttribute.
    """
    try:
        cuda = load(_DRIVER)
    except OSError:
        return Gpu()
    if cuda.cuInit(0) != 0:
        return Gpu()
    version, device = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    driver = f"{version.value // 1000}.{version.value % 1000 // 10}" if version.value else UNKNOWN
    if (
        cuda.cuDeviceGet(ctypes.byref(device), number) != 0
        or cuda.cuDeviceGetName(name, _NAME_BYTES, device) != 0
    ):
        return Gpu(driver=driver)
    major, minor = ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    return Gpu(name.value.decode("utf-8", "replace"), f"{major.value}.{minor.value}", driver)


def tensorrt_version(*, load: Load = ctypes.CDLL) -> str:
    """As the library numbers itself, 101303 for 10.13.3; "unknown" where there is none.

    Source: NvInferRuntime.h: getInferLibVersion.
    """
    for library in _TENSORRT:
        try:
            return str(int(load(library).getInferLibVersion()))
        except OSError:
            continue
    return UNKNOWN
