"""What a model package says of its model: the document `model.yaml`.

What is stated here stands above the metadata of the ONNX file, for what a file does not say or says wrongly.
"""

import json
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from agent.contract.documents import Document
from agent.contract.explain import explain
from agent.contract.parts import Name, Part
from agent.contract.problems import FaultyDocumentError
from agent.contract.schemas import schema_of
from agent.contract.thresholds import ThresholdPolicy
from agent.contract.yaml_text import read_yaml

Precision = Literal["fp32", "fp16", "int8"]
Placement = Literal["centre", "corner", "stretch", "crop"]
Above0 = Annotated[float, Field(gt=0)]
Channels = tuple[float, float, float]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class Preprocessing(Part):
    """How the model wants its pictures, where its head would feed it otherwise."""

    colours: Annotated[
        Literal["rgb", "bgr"] | None,
        Field(description="Order of the colours."),
    ] = None
    scale: Annotated[
        float | None,
        Field(gt=0, description="What a byte is divided by: 255 for 0..1, 1 for 0..255."),
    ] = None
    mean: Annotated[
        Channels | None,
        Field(description="What is taken away after scaling, by the model's own order of colours."),
    ] = None
    std: Annotated[
        tuple[Above0, Above0, Above0] | None,
        Field(description="What it is divided by then."),
    ] = None
    placement: Annotated[
        Placement | None,
        Field(description="Where a picture lies in the input: centred, cornered, stretched or cropped."),
    ] = None
    pad: Annotated[
        int | None,
        Field(ge=0, le=255, description="The grey around a letterboxed picture, as a byte."),
    ] = None


class Tolerances(Part):
    """How far from a golden result is still right. Left out: what suits the precision."""

    box_px: Annotated[
        float | None,
        Field(ge=0, description="Sides of boxes and keypoints, in pixels of the golden picture."),
    ] = None
    confidence: Annotated[
        float | None,
        Field(ge=0, le=1, description="Confidences, as a fraction."),
    ] = None
    missed: Annotated[
        float | None,
        Field(ge=0, le=1, description="Share of golden objects that may be missing, and of others too many."),
    ] = None
    output: Annotated[
        float | None,
        Field(ge=0, description="Values of raw outputs, relative. Left out: compared at fp32 only."),
    ] = None
    score: Annotated[
        float | None,
        Field(ge=0, description="An anomaly score, over 1e-6 + its size."),
    ] = None


_USUAL: Final[dict[Precision, Tolerances]] = {
    # Three engines on one CPU differ by 1.2e-4 px, 6e-7 and 1e-4 (YOLO11n and its pose form at 640x640).
    "fp32": Tolerances(box_px=1e-3, confidence=1e-4, missed=0.0, output=1e-3, score=1e-4),
    # Weights in halves: 1.9 px on a side of 510, 3e-4.
    "fp16": Tolerances(box_px=4.0, confidence=0.01, missed=0.0, score=1e-2),
    # Quantised by the book, its head left alone: 2.4 px on 909, 0.014; a weak object was lost.
    "int8": Tolerances(box_px=8.0, confidence=0.1, missed=0.1, score=0.1),
}


class ModelCard(Part):
    """The whole of `model.yaml`."""

    v: Annotated[Literal[1], Field(description="Version of this document's form.")] = 1
    name: Annotated[Name, Field(description="What the model is called where it is kept.")]
    version: Annotated[Word, Field(description="Its version, as messages tell it.")]
    description: Annotated[str, Field(max_length=2000, description="What it finds, and for whom.")] = ""
    licence: Annotated[Word, Field(description="Under which terms it may be used, as SPDX names them.")]
    precision: Annotated[
        Precision,
        Field(description="Of its weights; what is golden comes from the model at fp32."),
    ] = "fp32"
    task: Annotated[
        Literal["detect", "pose", "classify", "anomaly"] | None,
        Field(description="What it is for."),
    ] = None
    head: Annotated[
        Word | None,
        Field(description="The family of its outputs, where they leave a doubt."),
    ] = None
    preprocessing: Annotated[
        Preprocessing,
        Field(description="How it wants its pictures, where its head would feed it otherwise."),
    ] = Preprocessing()
    classes: Annotated[
        tuple[Word, ...] | None,
        Field(min_length=1, description="Names of its classes, by number from 0."),
    ] = None
    input_size: Annotated[
        tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None,
        Field(description="[height, width] in pixels that it was trained at."),
    ] = None
    metadata: Annotated[
        dict[Word, JsonValue],
        Field(description="What else the file's metadata ought to say, by its keys: `stride`, `window`, …"),
    ] = Field(default_factory=dict)
    thresholds: Annotated[
        ThresholdPolicy,
        Field(description="What counts as found, where the policy does not say."),
    ] = ThresholdPolicy()
    tolerances: Annotated[
        Tolerances,
        Field(description="How far from a golden result is still right."),
    ] = Tolerances()
    slowest_ms: Annotated[
        float | None,
        Field(gt=0, description="Milliseconds that one golden input may take on the node."),
    ] = None

    def said(self) -> dict[str, str]:
        """What this document says as a file's metadata says it: values are JSON."""
        stated = {"names": self.classes, "imgsz": self.input_size}
        said = {key: json.dumps(value) for key, value in stated.items() if value is not None}
        plain = {"task": self.task, "head": self.head, "version": self.version}
        said |= {key: value for key, value in plain.items() if value is not None}
        texts = (
            (key, value if isinstance(value, str) else json.dumps(value))
            for key, value in self.metadata.items()
        )
        return {**dict(texts), **said}

    def allowed(self, *, computed_in: str = "fp32") -> Tolerances:
        """The tolerances in force: as stated, else as usual for the weights, or for a coarser provider.

        `computed_in` is what a policy asks of the provider: fp32, tf32, fp16 or bf16.
        """
        coarse: Precision = "fp16" if self.precision == "fp32" and computed_in != "fp32" else self.precision
        return _USUAL[coarse].model_copy(update=self.tolerances.model_dump(exclude_none=True))


def read_card(body: bytes, *, file: str) -> ModelCard:
    """The document that `body` holds, YAML.

    Raises:
        FaultyDocumentError: with everything that is wrong with it.
    """
    document: Document = read_yaml(body, file=file)
    if document.problems:
        raise FaultyDocumentError(document.problems)
    try:
        return _CARD.validate_json(json.dumps(document.root.plain()), strict=True)
    except ValidationError as error:
        told = explain(error, schema=schema_of(ModelCard), line_of=document.line_of, file=file)
        raise FaultyDocumentError(told) from error


_CARD: Final = TypeAdapter(ModelCard)
