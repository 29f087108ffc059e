"""Modify a pretrained net and train it further: new heads, frozen parts, a learning rate for each part, a pull back to the source.

A net here has a body, `features`, and a linear `classifier`, its head.
"""
from __future__ import annotations

import copy
import difflib

import numpy as np
import torch
from torch import nn

from helpers.data.augment import Augment
from helpers.training import History, Loss, accuracy, cross_entropy, fit

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


def unfreeze_only(model: nn.Module, *names: str) -> nn.Module:
    """Freeze all of `model` but the parts called `names`, such as "features.12" or "classifier", in place; returns it.

    Raises ValueError when there is no such part, or when it has nothing that could be trained.
    """
    parts = {name: part for name, part in model.named_modules() if name and any(True for _ in part.parameters())}
    for name in names:
        if name not in parts:
            near = difflib.get_close_matches(name, parts, n=3) or list(parts)[:8]
            raise ValueError(f"no part called {name!r} has parameters: choose for example {', '.join(near)}")
    freeze(model)
    for name in names:
        unfreeze(parts[name])
    return model


def units(model: nn.Module) -> dict[str, nn.ModuleList]:
    """The steps of the body, from the input to the output: each layer or block of `features` that has parameters, with its BatchNorm.

    The name is that of its first part, such as "features.3". Raises ValueError when the model has no `features` to go through.
    """
    if not isinstance(getattr(model, "features", None), nn.Sequential):
        raise ValueError(f"{type(model).__name__} has no nn.Sequential called `features`: put the layers of its body into one")
    found: dict[str, nn.ModuleList] = {}
    for name, part in model.features.named_children():
        if isinstance(part, BATCHNORM) and found:
            next(reversed(found.values())).append(part)
        elif any(True for _ in part.parameters()):
            found[f"features.{name}"] = nn.ModuleList([part])
    return found


def unfreeze_last(model: nn.Module, count: int) -> nn.Module:
    """Freeze the body but its last `count` units, in place; returns it. The classifier is always trained; count 0 is a linear probe.

    Raises ValueError when count is below 0 or there are fewer units.
    """
    parts = list(units(model).values())
    if not 0 <= count <= len(parts):
        raise ValueError(f"count is {count}: the body has {len(parts)} units, choose 0 to {len(parts)}")
    freeze(model)
    for part in (model.classifier, *parts[len(parts) - count :]):
        unfreeze(part)
    return model


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


def discriminative_groups(model: nn.Module, body_rate: float, head_rate: float, factor: float = 2.6) -> list[dict]:
    """A group for each unit that is not frozen: the last one of the body at `body_rate`, each earlier one at a rate `factor` times
    smaller; the `classifier` at `head_rate`. (ULMFiT: Howard & Ruder 2018, arXiv:1801.06146.)

    Raises ValueError when factor < 1.
    """
    if factor < 1:
        raise ValueError(f"factor is {factor}: with less than 1 the earlier, more general layers would move most; 1 or more is meant")
    parts = [*reversed(units(model).values()), model.classifier]
    rates = [body_rate / factor**place for place in range(len(parts) - 1)] + [head_rate]
    groups = [{"params": [p for p in part.parameters() if p.requires_grad], "lr": rate} for part, rate in zip(parts, rates, strict=True)]
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


def gradual_unfreezing(
    model: nn.Module, inputs: torch.Tensor, labels: np.ndarray, *, steps: int, body_rate: float, head_rate: float = 1e-3,
    augment: Augment | None = None, seed: int = 0,
) -> list[History]:  # fmt: skip
    """Train `model` in place in stages of equal length: the last unit of the body, then the last two, and so on to all of them.

    steps: in all. Returns the history of each stage. (ULMFiT: Howard & Ruder 2018, arXiv:1801.06146.)
    Raises ValueError when there are fewer steps than units.
    """
    depths = range(1, len(units(model)) + 1)
    if steps < len(depths):
        raise ValueError(f"steps is {steps} for {len(depths)} stages: allow at least one step for each")
    histories = []
    for depth in depths:
        share = steps * depth // len(depths) - steps * (depth - 1) // len(depths)
        groups = parameter_groups(unfreeze_last(model, depth), body_rate, head_rate)
        histories.append(fit(model, inputs, labels, steps=share, groups=groups, schedule="cosine", augment=augment, seed=seed + depth))
    return histories


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the body's parameters by name (without the `classifier`): the reference of `l2_sp` and `distance`."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if not name.startswith("classifier.")}


def _moves(model: nn.Module, reference: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """parameter - reference, for each parameter of the reference."""
    parameters = dict(model.named_parameters())
    for name, start in reference.items():
        if name not in parameters or parameters[name].shape != start.shape:
            raise ValueError(f"the model has no parameter {name} of shape {tuple(start.shape)}: take the snapshot from the same net")
    return [parameters[name] - start for name, start in reference.items()]


def l2_sp(reference: dict[str, torch.Tensor], strength: float, head_strength: float = 0.0) -> Loss:
    """A loss for `training.fit`: cross-entropy + strength/2 |body - reference|^2 + head_strength/2 |classifier|^2.

    It pulls the body to the *starting point* (SP), where weight decay pulls it to 0. reference: from `snapshot`, taken before training.
    Li et al. 2018, arXiv:1802.01483, eq. 3. Raises ValueError when a strength is negative or the model is another net.
    """
    if strength < 0 or head_strength < 0:
        raise ValueError(f"strength is {strength}, head_strength {head_strength}: use 0 (no pull) or more")

    def loss(model: nn.Module, batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        penalty = strength / 2 * sum(move.square().sum() for move in _moves(model, reference))
        head = head_strength / 2 * sum(p.square().sum() for p in model.classifier.parameters())
        return cross_entropy(model, batch, labels) + penalty + head

    return loss


@torch.no_grad()
def distance(model: nn.Module, reference: dict[str, torch.Tensor]) -> float:
    """How far the body has moved from `reference` (a `snapshot`), as a share of the reference's length: |body - reference| / |reference|.

    Raises ValueError when the model is another net than the one the snapshot was taken from.
    """
    moved = torch.cat([move.flatten() for move in _moves(model, reference)])
    return float(moved.norm() / torch.cat([start.flatten() for start in reference.values()]).norm())


def forgetting(pretrained: nn.Module, tuned: nn.Module, inputs: torch.Tensor, labels: np.ndarray) -> float:
    """The accuracy on the *source* task that fine-tuning has cost: of `pretrained`, minus that of the tuned body under its old head.

    inputs and labels: of the source task, unseen by both. Neither net is changed. (McCloskey & Cohen 1989,
    doi:10.1016/S0079-7421(08)60536-8.)
    """
    back = copy.deepcopy(tuned)
    back.classifier = copy.deepcopy(pretrained.classifier)
    return accuracy(pretrained, inputs, labels) - accuracy(back, inputs, labels)
