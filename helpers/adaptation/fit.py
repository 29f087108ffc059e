"""One training loop for every method of domain adaptation: source and target in one forward pass, and a weight that rises."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import training
from helpers.data.augment import Augment


class Joint(NamedTuple):
    """What one forward pass of a source and a target batch gives.

    source_features (n, d) and target_features (m, d); source_logits (n, classes) and target_logits (m, classes); source_labels (n,);
    target_labels (m,): pseudo-labels, or None.
    """

    source_features: Tensor
    target_features: Tensor
    source_logits: Tensor
    target_logits: Tensor
    source_labels: Tensor
    target_labels: Tensor | None = None


# A method gets what the forward pass gave and its weight at this step, and returns the loss to add to the source's cross-entropy.
Method = Callable[[Joint, float], Tensor]


def ramp(progress: float) -> float:
    """From 0 at progress 0 to nearly 1 at progress 1: 2 / (1 + exp(-10 progress)) - 1 (Ganin et al. 2016, section 5.2.2).

    Early in training the features mean little, and aligning them would align noise.
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


def constant(progress: float) -> float:
    """1 at any time: for a method that starts from a trained net."""
    return 1.0


def forward(model: nn.Module, source: Tensor, target: Tensor, labels: Tensor, target_labels: Tensor | None = None) -> Joint:
    """Both batches through `model.features` and `model.classifier` at once, so that BatchNorm normalises them with the same numbers."""
    features = model.features(torch.cat([source, target]))
    logits, n = model.classifier(features), len(source)
    return Joint(features[:n], features[n:], logits[:n], logits[n:], labels, target_labels)


def forward_apart(model: nn.Module, source: Tensor, target: Tensor, labels: Tensor, target_labels: Tensor | None = None) -> Joint:
    """One batch after the other: BatchNorm normalises each domain with its own numbers, and its running averages mix both."""
    features, target_features = model.features(source), model.features(target)
    return Joint(features, target_features, model.classifier(features), model.classifier(target_features), labels, target_labels)


def no_method(joint: Joint, weight: float) -> Tensor:
    """Nothing to add: the target takes part in BatchNorm's statistics alone."""
    return joint.source_logits.new_zeros(())


def pseudo_labels(joint: Joint, weight: float) -> Tensor:
    """The cross-entropy of the target images with the labels that a net has given them."""
    return weight * F.cross_entropy(joint.target_logits, joint.target_labels)


def adapt(
    model: nn.Module,
    source: Tensor,
    labels: np.ndarray,
    target: Tensor,
    method: Method,
    *,
    steps: int,
    weight: float = 1.0,
    learning_rate: float = 3e-3,
    batch_size: int = 64,
    augment: Augment | None = None,
    rising: Callable[[float], float] = ramp,
    target_labels: np.ndarray | None = None,
    schedule: str = "one-cycle",
    together: bool = True,
    seed: int = 0,
) -> training.History:
    """Train `model` in place on labelled source images and unlabelled target images; leaves it in evaluation mode.

    model: has `features` and `classifier`. source (n, …), labels (n,), target (m, …). method: a function of a `Joint` and a weight; when
    it is an nn.Module (a domain classifier), its parameters are trained too. weight: at its height; `rising` says how it gets there.
    augment: for both domains. target_labels: pseudo-labels for `pseudo_labels`, never true ones. together: `forward`, or False for
    `forward_apart`. The rest as in `training.fit`.
    Raises ValueError when the target is empty, its images have another shape, or as `training.fit` does.
    """
    if not len(target):
        raise ValueError("there are no target images: adaptation needs unlabelled images of the target, at least a batch")
    if source.shape[1:] != target.shape[1:]:
        raise ValueError(f"source images have shape {tuple(source.shape[1:])}, target images {tuple(target.shape[1:])}: make them equal")
    if not torch.isfinite(target).all():
        raise ValueError("target images hold NaN or infinite values: check how they were read and scaled")
    if weight < 0:
        raise ValueError(f"weight is {weight}: it multiplies the method's loss and is 0 or more")
    generator = torch.Generator().manual_seed(seed + 1)
    order = enumerate(training.batches(len(target), batch_size, steps, seed + 1))
    both = forward if together else forward_apart
    given = None if target_labels is None else torch.as_tensor(target_labels)

    def loss(net: nn.Module, batch: Tensor, batch_labels: Tensor) -> Tensor:
        step, index = next(order)
        images = augment(target[index], generator) if augment else target[index]
        guessed = None if given is None else given[index].to(batch.device)
        joint = both(net, batch, images.to(batch.device), batch_labels, guessed)
        return F.cross_entropy(joint.source_logits, batch_labels) + method(joint, weight * rising(step / steps))

    parameters = list(model.parameters()) + (list(method.parameters()) if isinstance(method, nn.Module) else [])
    groups = [{"params": [p for p in parameters if p.requires_grad]}]
    recipe = {"learning_rate": learning_rate, "batch_size": batch_size, "augment": augment, "schedule": schedule, "weight_decay": 1e-3}
    return training.fit(model, source, labels, steps=steps, groups=groups, loss=loss, seed=seed, **recipe)


def probabilities(model: nn.Module, images: Tensor) -> np.ndarray:
    """The net's class probabilities (n, classes), in evaluation mode."""
    return torch.from_numpy(training.predict(model, images)).softmax(1).numpy()


@torch.no_grad()
def embed(model: nn.Module, images: Tensor) -> np.ndarray:
    """`model.features` of the images (n, d), in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    return model.features(images.to(device)).cpu().numpy()
