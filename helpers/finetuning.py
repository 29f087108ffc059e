"""Modify a pretrained net and train it further: new heads, frozen parts, a learning rate for each part."""
from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from helpers.data.augment import Augment
from helpers.training import History, fit

BATCHNORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def freeze(module: nn.Module) -> nn.Module:
    """Stop gradients and batch statistics in `module`, in place; returns it."""
    return module.requires_grad_(False).eval()


def unfreeze(module: nn.Module) -> nn.Module:
    """Let `module` be trained again, in place; returns it."""
    return module.requires_grad_(True)


def freeze_batchnorm(module: nn.Module) -> nn.Module:
    """Freeze only the BatchNorm layers of `module`, in place; returns it. The source's statistics and scales are then kept."""
    for part in module.modules():
        if isinstance(part, BATCHNORM):
            freeze(part)
    return module


def replace_classifier(model: nn.Module, classes: int) -> nn.Module:
    """A copy of `model` whose linear `classifier` is new (random) and has `classes` outputs; every other weight is kept.

    Raises ValueError when the model has no linear layer called `classifier`, or classes < 2.
    """
    if not isinstance(getattr(model, "classifier", None), nn.Linear):
        raise ValueError(f"{type(model).__name__} has no linear layer called `classifier`: name the layer to replace like that")
    if classes < 2:
        raise ValueError(f"classes is {classes}: a classifier needs 2 or more")
    model = copy.deepcopy(model)
    model.classifier = nn.Linear(model.classifier.in_features, classes).to(model.classifier.weight)
    return model


def parameter_groups(model: nn.Module, body_rate: float, head_rate: float) -> list[dict]:
    """The optimiser's two groups: the new `classifier` at `head_rate`, all else that is not frozen at `body_rate`."""
    head = {id(p) for p in model.classifier.parameters()}
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if id(p) not in head], "lr": body_rate},
        {"params": [p for p in trainable if id(p) in head], "lr": head_rate},
    ]
    return [group for group in groups if group["params"]]


@torch.no_grad()
def fit_classifier(model: nn.Module, inputs: torch.Tensor, labels: np.ndarray, strength: float = 1.0) -> nn.Module:
    """Set the linear `classifier` to the logistic regression on the model's own frozen features, in place: the best head, in milliseconds.

    strength: scikit-learn's C. For two classes the single boundary becomes two opposite rows of weights.
    """
    from sklearn.linear_model import LogisticRegression

    model.eval()
    features = model.features(inputs.to(model.classifier.weight.device)).cpu().numpy()
    probe = LogisticRegression(C=strength, max_iter=1000).fit(features, labels)
    weight, bias = torch.tensor(probe.coef_), torch.tensor(probe.intercept_)
    if len(weight) == 1:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    model.classifier.weight.copy_(weight)
    model.classifier.bias.copy_(bias)
    return model


def head_then_body(
    pretrained: nn.Module, inputs: torch.Tensor, labels: np.ndarray, *, classes: int, steps: int = 150, body_rate: float = 1e-3,
    head_rate: float = 1e-3, augment: Augment | None = None, seed: int = 0,
) -> tuple[nn.Module, History]:  # fmt: skip
    """Transfer in two stages: the best head on frozen features, then all weights together with a cosine schedule.

    Returns the new model and the second stage's history; `pretrained` is left as it is. (LP-FT: Kumar et al. 2022, arXiv:2202.10054.)
    """
    torch.manual_seed(seed)
    model = fit_classifier(unfreeze(replace_classifier(pretrained, classes)), inputs, labels)
    groups = parameter_groups(model, body_rate, head_rate)
    history = fit(model, inputs, labels, steps=steps, groups=groups, schedule="cosine", augment=augment, seed=seed)
    return model, history
