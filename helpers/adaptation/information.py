"""Losses on the target's predictions alone: confident, diverse, not confused."""
from __future__ import annotations

import torch
from torch import Tensor

from helpers.adaptation.fit import Joint


def _check(logits: Tensor) -> None:
    if logits.ndim != 2 or not len(logits) or logits.shape[1] < 2:
        raise ValueError(f"logits have shape {tuple(logits.shape)}: pass (n, classes) with n above 0 and two classes or more")


def entropy(logits: Tensor) -> Tensor:
    """The mean entropy of the predictions (n, classes), in nats: 0 when each is certain, log(classes) when each is a guess."""
    _check(logits)
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()


def diversity(logits: Tensor) -> Tensor:
    """The entropy of the mean prediction, in nats: 0 when all images get one class, log(classes) when all classes occur equally."""
    _check(logits)
    mean = logits.softmax(1).mean(0)
    return -torch.special.xlogy(mean, mean).sum()


def information_maximisation(joint: Joint, weight: float) -> Tensor:
    """Each prediction certain, all together diverse (Krause et al. 2010; Liang et al. 2020, arXiv:2002.08546)."""
    return weight * (entropy(joint.target_logits) - diversity(joint.target_logits))


def entropy_minimisation(joint: Joint, weight: float) -> Tensor:
    """Each prediction certain, and nothing against all images getting one class (Grandvalet & Bengio 2004)."""
    return weight * entropy(joint.target_logits)


def class_confusion(logits: Tensor, temperature: float = 2.5) -> Tensor:
    """Minimum class confusion: how much of the target's class correlation lies off the diagonal; a scalar from 0 to 1.

    logits: (n, classes). The predictions are softened by `temperature`, weighted by how certain each is, and correlated class by class.
    (Jin et al. 2020, arXiv:1912.03699.) Raises ValueError for a temperature that is not positive.
    """
    _check(logits)
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}: it divides the logits and is positive (2.5 in the paper)")
    guesses = (logits / temperature).softmax(1)
    uncertainty = -torch.special.xlogy(guesses, guesses).sum(1).detach()
    certainty = 1 + torch.exp(-uncertainty)
    share = len(logits) * certainty / certainty.sum()
    confusion = (guesses * share[:, None]).T @ guesses
    confusion = confusion / confusion.sum(1, keepdim=True)
    return (confusion.sum() - confusion.trace()) / logits.shape[1]


def mcc(joint: Joint, weight: float) -> Tensor:
    """`class_confusion` of the target's predictions."""
    return weight * class_confusion(joint.target_logits)
