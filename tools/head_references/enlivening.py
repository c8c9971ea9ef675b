"""Random networks that tell one place of a picture from another."""

import torch


def enliven(model: torch.nn.Module, images: torch.Tensor) -> None:
    """Set every normalisation by what passes it for `images`, so that the signal does not die away."""
    norms = [each for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        model(images)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.eval()
