"""A classifier from Ultralytics: its transforms, its softmax.

    python -m tools.head_references.classify

What is stored are the outputs for the agent's own input, so that the head is held exactly; how far that input
and the confidences are from those of the library's antialiased transforms is printed.
"""

import cv2
import numpy as np
import torch
import ultralytics
from PIL import Image
from ultralytics.data.augment import classify_transforms
from ultralytics.nn.tasks import ClassificationModel

from agent.vision.feeding import Feeder, Feeding
from agent.vision.letterbox import Size
from tools.head_references.comparing import picture
from tools.head_references.enlivening import enliven
from tools.head_references.feeding import compare_feeding
from tools.head_references.storing import Expected, store

_CLASSES = 8
_SIZE = (224, 224)
_FRAMES = ((360, 500), (1280, 720), (100, 90))
_LEAST = 0.05
_FED = Feeding(placement="crop", shrinking="area")


def build(images: torch.Tensor) -> torch.nn.Module:
    """A model with random weights whose classes are not all alike."""
    torch.manual_seed(7)
    model = ClassificationModel("yolo11n-cls.yaml", nc=_CLASSES, verbose=False).eval()
    enliven(model, images)
    torch.nn.init.normal_(model.model[-1].linear.weight, std=0.06)
    model.model[-1].export = True
    return model


def main() -> None:
    """Write the reference."""
    transforms = classify_transforms(_SIZE[0])
    model = build(torch.stack([transforms(Image.fromarray(picture(*frame))) for frame in _FRAMES]))
    for frame in _FRAMES:
        pixels = picture(*frame)
        theirs = transforms(Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)))
        compare_feeding("classify", _FED, _SIZE, pixels, theirs.numpy())
        feeder = Feeder(slots=1, size=Size(*_SIZE), feeding=_FED)
        feeder.put(0, pixels)
        with torch.no_grad():
            wanted = model(theirs[None])[0].numpy()
            ours = model(torch.from_numpy(feeder.filled(1)))[0].numpy()
        print(f"  confidences {np.round(wanted, 3).tolist()}, apart by {np.abs(ours - wanted).max():.2g}")
        if frame != _FRAMES[0]:
            continue
        classes = np.flatnonzero(wanted > _LEAST)
        whole = np.tile([0.0, 0.0, frame[1], frame[0]], (len(classes), 1))
        facts = {
            "task": "classify",
            "classes": _CLASSES,
            "input_size": _SIZE,
            "frame_size": frame,
            "confidence": _LEAST,
            "inputs": ["images"],
            "said": {"head": "Classify"},
            "versions": {"ultralytics": ultralytics.__version__, "torch": torch.__version__},
        }
        store("classify", {"output0": wanted[None]}, Expected(whole, wanted[classes], classes), facts)


if __name__ == "__main__":
    main()
