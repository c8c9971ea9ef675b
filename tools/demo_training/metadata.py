"""What the ONNX files say of themselves."""

from collections.abc import Mapping
from pathlib import Path

import onnx

VERSION = "1.0.0"
LICENSE = "Apache-2.0"
AUTHOR = "nanofleet"


def write_metadata(path: Path, entries: Mapping[str, str]) -> None:
    """Adds the entries and checks the file.

    Raises:
        onnx.checker.ValidationError: it is not a valid model.
    """
    model = onnx.load(path)
    everything = {"version": VERSION, "license": LICENSE, "author": AUTHOR, **entries}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, everything)
    model.producer_name = AUTHOR
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
