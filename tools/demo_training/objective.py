"""Which cell answers for which part, and how wrong it is."""

import math

import torch
from torch import Tensor

_ALPHA, _BETA, _TOP = 0.5, 6.0, 10
_BOX_WEIGHT, _CLASS_WEIGHT = 7.5, 1.0


def detector_loss(
    *,
    logits: Tensor,
    distances: Tensor,
    centres: Tensor,
    boxes: Tensor,
    class_id: Tensor,
    present: Tensor,
) -> Tensor:
    """A scalar for one batch; shapes as `PartsDetector.forward` and `Batch` give them.

    Task-aligned assignment: a cell inside a part's box is ranked by score and overlap together, the best ten
    a part are positive, and their target score is their rank times the part's best overlap.

    Source: Feng et al., TOOD (2021), §3.2; complete IoU: Zheng et al. (2020), https://arxiv.org/abs/1911.08287.
    """
    predicted = torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], -1)
    with torch.no_grad():
        target_scores, owner, weight = _assign(
            scores=logits.sigmoid(),
            predicted=predicted,
            centres=centres,
            boxes=boxes,
            class_id=class_id,
            present=present,
        )
    total = target_scores.sum().clamp(min=1.0)
    class_loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target_scores, reduction="sum")
    positive = weight > 0
    own_boxes = boxes.gather(1, owner.unsqueeze(-1).expand(-1, -1, 4))
    overlap = complete_iou(predicted[positive], own_boxes[positive])
    box_loss = ((1.0 - overlap) * weight[positive]).sum()
    return (_CLASS_WEIGHT * class_loss + _BOX_WEIGHT * box_loss) / total


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU less how far apart the centres and the proportions are; boxes `[..., 4]`, x1 y1 x2 y2."""
    overlap = iou(first, second)
    enclosing = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(
        first[..., :2], second[..., :2]
    )
    diagonal = enclosing.pow(2).sum(-1) + 1e-7
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]).pow(2).sum(-1) / 4
    size_1, size_2 = first[..., 2:] - first[..., :2], second[..., 2:] - second[..., :2]
    turn = torch.atan(size_2[..., 0] / (size_2[..., 1] + 1e-7)) - torch.atan(
        size_1[..., 0] / (size_1[..., 1] + 1e-7)
    )
    proportion = 4 / math.pi**2 * turn.pow(2)
    with torch.no_grad():
        trade_off = proportion / (1 - overlap + proportion + 1e-7)
    return overlap - apart / diagonal - trade_off * proportion


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes `[..., 4]` that broadcast to one shape."""
    shared = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    intersection = shared.clamp(min=0).prod(-1)
    area_1 = (first[..., 2:] - first[..., :2]).prod(-1)
    area_2 = (second[..., 2:] - second[..., :2]).prod(-1)
    return intersection / (area_1 + area_2 - intersection + 1e-7)


def _assign(
    *, scores: Tensor, predicted: Tensor, centres: Tensor, boxes: Tensor, class_id: Tensor, present: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Target scores `[N, A, classes]`; the part each cell answers for, and its weight, `[N, A]`."""
    near = centres[None, None] - boxes[:, :, None, :2]
    far = boxes[:, :, None, 2:] - centres[None, None]
    inside = (torch.cat([near, far], -1).amin(-1) > 0) & present[..., None]
    overlap = iou(predicted[:, None], boxes[:, :, None]).clamp(0, 1) * inside
    own_scores = scores.transpose(1, 2).gather(1, class_id[..., None].expand(-1, -1, scores.shape[1]))
    alignment = own_scores.pow(_ALPHA) * overlap.pow(_BETA)
    # Overlaps near 0 to the sixth power vanish; the small term still ranks them in the first steps.
    ranked = torch.where(inside, alignment + 1e-9 * (1 + overlap), torch.zeros_like(alignment))
    best = ranked.topk(_TOP, dim=-1)
    chosen = torch.zeros_like(inside).scatter(-1, best.indices, best.values > 0)
    # A cell wanted by several parts goes to the one it overlaps most.
    contested = torch.where(chosen, overlap + 1e-6, torch.zeros_like(overlap))
    most, owner = contested.max(1)
    mine = torch.zeros_like(chosen).scatter(1, owner[:, None], (most > 0)[:, None])
    alignment = torch.where(mine, alignment + 1e-9, torch.zeros_like(alignment))
    best_overlap = torch.where(mine, overlap, torch.zeros_like(overlap)).amax(-1, keepdim=True)
    relative = alignment / alignment.amax(-1, keepdim=True).clamp(min=1e-12) * best_overlap.clamp(min=0.05)
    weight = torch.where(mine, relative, torch.zeros_like(relative)).amax(1)
    target = torch.zeros_like(scores)
    own_class = class_id.gather(1, owner)
    target.scatter_(-1, own_class[..., None], weight[..., None])
    return target, owner, weight
