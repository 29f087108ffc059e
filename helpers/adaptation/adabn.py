"""Adaptive batch normalisation: the target's own means and variances, no training."""
from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from helpers.finetuning import BATCHNORM


@torch.no_grad()
def adabn(model: nn.Module, target: Tensor) -> nn.Module:
    """A copy of `model` in which every BatchNorm layer has the mean and variance of `target` (n, …) instead of the source's.

    No weight changes and no label is used (Li et al. 2016, arXiv:1603.04779). Returned in evaluation mode.
    Raises ValueError when there is no BatchNorm layer, or fewer than two images.
    """
    if len(target) < 2:
        raise ValueError(f"{len(target)} target images: a variance needs two or more, a few hundred are better")
    model = copy.deepcopy(model)
    layers = [module for module in model.modules() if isinstance(module, BATCHNORM)]
    if not layers:
        raise ValueError("the model has no BatchNorm layer whose statistics could be replaced")
    model.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        layer.momentum = None  # the plain average over all batches
    model(target.to(next(model.parameters()).device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return model.eval()
