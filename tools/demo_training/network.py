"""A small anchor-free detector whose ONNX output has YOLOv8's layout.

Source: the layout `[N, 4 + classes, A]` as YOLOv8's exported models write it; one prediction per cell of two
grids, as in Tian et al., FCOS (2019), with one box branch and one class branch.
"""

import torch
from torch import Tensor, nn

STRIDES = (8, 16)
CLASS_PRIOR = 0.01
# Channels at strides 2, 4, 8, 16 and 32.
WIDTHS = (16, 32, 48, 96, 128)


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, ReLU: what ONNX Runtime fuses into one kernel."""

    def __init__(self, inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.norm(self.conv(x)), inplace=True)


class Residual(nn.Module):
    """Two convolutions over half of the channels, beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Multiples of 16: the blocked kernels of ONNX Runtime work on 16 channels at a time.
        narrow = -(-channels // 32) * 16
        self.narrow = ConvBlock(channels, narrow, size=1)
        self.widen = ConvBlock(narrow, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.widen(self.narrow(x))


def _stage(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    blocks = [Residual(outputs) for _ in range(depth)]
    return nn.Sequential(ConvBlock(inputs, outputs, stride=2), *blocks)


class PartsDetector(nn.Module):
    """Pictures `[N, 3, H, W]`, RGB in 0..1, H and W multiples of 32, to raw predictions per cell.

    `forward` gives logits `[N, A, classes]`, distances `[N, A, 4]` from each cell's centre to the box's left,
    top, right and bottom in pixels, and the centres `[A, 2]` in pixels.
    """

    def __init__(self, *, classes: int, widths: tuple[int, int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        w2, w4, w8, w16, w32 = widths
        self.stem = nn.Sequential(ConvBlock(3, w2, stride=2), ConvBlock(w2, w4, stride=2))
        self.to_8 = _stage(w4, w8, 2)
        self.to_16 = _stage(w8, w16, 3)
        self.to_32 = _stage(w16, w32, 2)
        self.from_32 = ConvBlock(w32, w16, size=1)
        self.at_16 = ConvBlock(2 * w16, w16, size=1)
        self.mix_16 = Residual(w16)
        self.from_16 = ConvBlock(w16, w8, size=1)
        self.at_8 = ConvBlock(2 * w8, w8, size=1)
        self.mix_8 = Residual(w8)
        self.heads = nn.ModuleList(_Head(c, classes=classes) for c in (w8, w16))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at_8 = self.to_8(self.stem(pictures))
        at_16 = self.to_16(at_8)
        at_32 = self.from_32(self.to_32(at_16))
        at_16 = self.mix_16(self.at_16(torch.cat([at_16, _doubled(at_32)], 1)))
        at_8 = self.mix_8(self.at_8(torch.cat([at_8, _doubled(self.from_16(at_16))], 1)))
        logits, distances, centres = [], [], []
        for level, head, stride in zip((at_8, at_16), self.heads, STRIDES, strict=True):
            scores, sides = head(level)
            logits.append(scores.flatten(2))
            distances.append(sides.flatten(2) * stride)
            centres.append(_centres(level, stride))
        return (
            torch.cat(logits, 2).transpose(1, 2),
            torch.cat(distances, 2).transpose(1, 2),
            torch.cat(centres, 0),
        )


class ExportedDetector(nn.Module):
    """The same network with the output of the ONNX file: `[N, 4 + classes, A]`.

    Rows are the box's centre x, centre y, width and height in input pixels, then one score in 0..1 a class.
    """

    def __init__(self, detector: PartsDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        logits, distances, centres = self.detector(images)
        near, far = distances[..., :2], distances[..., 2:]
        boxes = torch.cat([centres + (far - near) / 2, near + far], 2)
        return torch.cat([boxes, logits.sigmoid()], 2).transpose(1, 2)


class _Head(nn.Module):
    def __init__(self, channels: int, *, classes: int) -> None:
        super().__init__()
        self.class_tower = ConvBlock(channels, channels)
        self.box_tower = ConvBlock(channels, channels)
        self.scores = nn.Conv2d(channels, classes, 1)
        self.sides = nn.Conv2d(channels, 4, 1)
        nn.init.constant_(self.scores.bias, -torch.log(torch.tensor(1 / CLASS_PRIOR - 1)).item())
        nn.init.constant_(self.sides.bias, 2.0)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and distances in cells: never negative, so a box holds its cell's centre."""
        return self.scores(self.class_tower(level)), nn.functional.softplus(self.sides(self.box_tower(level)))


def _doubled(level: Tensor) -> Tensor:
    return nn.functional.interpolate(level, scale_factor=2.0, mode="nearest")


def _centres(level: Tensor, stride: int) -> Tensor:
    """Cell centres `[h * w, 2]` as x, y in input pixels, from the shape: height and width stay free."""
    height, width = level.shape[2], level.shape[3]
    across = (torch.arange(width, device=level.device, dtype=torch.float32) + 0.5) * stride
    down = (torch.arange(height, device=level.device, dtype=torch.float32) + 0.5) * stride
    x = across.unsqueeze(0).expand(height, width)
    y = down.unsqueeze(1).expand(height, width)
    return torch.stack([x, y], -1).reshape(-1, 2)
