"""Adversarial adaptation: features from which a domain classifier cannot tell where an image came from (DANN, CDAN+E)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.adaptation.fit import Joint


class ReverseGradient(torch.autograd.Function):
    """The identity on the way forward; on the way back the gradient times minus `weight`."""

    @staticmethod
    def forward(context, inputs: Tensor, weight: float) -> Tensor:
        context.weight = weight
        return inputs.view_as(inputs)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.weight * gradient, None


def reverse_gradient(inputs: Tensor, weight: float) -> Tensor:
    """`inputs`, unchanged; their gradient is multiplied by -`weight` (Ganin & Lempitsky 2015, arXiv:1409.7495)."""
    return ReverseGradient.apply(inputs, weight)


def domain_classifier(inputs: int, hidden: int = 128) -> nn.Sequential:
    """Two hidden layers, one logit: above 0 it says "source"."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))


class Dann(nn.Module):
    """Domain-adversarial training (Ganin et al. 2016, JMLR 17, arXiv:1505.07818): the domain classifier learns, the features unlearn.

    features: how many numbers an image has. Called with a `Joint` and a weight, it returns the domain classifier's cross-entropy; the
    weight acts on the reversed gradient alone, so the classifier itself always learns at full strength.
    """

    def __init__(self, features: int = 64):
        super().__init__()
        self.critic = domain_classifier(features)

    def forward(self, joint: Joint, weight: float) -> Tensor:
        both = reverse_gradient(torch.cat([joint.source_features, joint.target_features]), weight)
        is_source = torch.cat([torch.ones(len(joint.source_features)), torch.zeros(len(joint.target_features))]).to(both)
        return F.binary_cross_entropy_with_logits(self.critic(both).squeeze(1), is_source)


class Cdan(nn.Module):
    """Conditional adversarial training with entropy weights, CDAN+E (Long et al. 2018, arXiv:1705.10667).

    The domain classifier sees the outer product of the class probabilities and the features, so it compares class with class; images
    that the net is sure about count for more.
    """

    def __init__(self, features: int = 64, classes: int = 10):
        super().__init__()
        self.critic = domain_classifier(features * classes)

    def forward(self, joint: Joint, weight: float) -> Tensor:
        features = torch.cat([joint.source_features, joint.target_features])
        guesses = torch.cat([joint.source_logits, joint.target_logits]).detach().softmax(1)
        outer = (guesses[:, :, None] * features[:, None, :]).flatten(1)
        n = len(joint.source_features)
        is_source = (torch.arange(len(features), device=features.device) < n).to(features)
        entropy = -(guesses * torch.log(guesses + 1e-6)).sum(1)
        sure = 1 + torch.exp(-entropy)
        share = torch.cat([sure[:n] / sure[:n].mean(), sure[n:] / sure[n:].mean()])
        losses = F.binary_cross_entropy_with_logits(self.critic(reverse_gradient(outer, weight)).squeeze(1), is_source, reduction="none")
        return (share * losses).mean()
