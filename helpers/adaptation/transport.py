"""Optimal transport: move every source image to a target image at the lowest total cost, and make that cost small."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from helpers.adaptation.fit import Joint


def cheapest_partners(cost: np.ndarray) -> np.ndarray:
    """For each row of a square cost matrix its own column, such that the total cost is least.

    With equally many points of equal mass on both sides, optimal transport is this assignment (Birkhoff; Kuhn 1955).
    Raises ValueError unless the matrix is square and finite.
    """
    cost = np.asarray(cost)
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1] or not np.isfinite(cost).all():
        raise ValueError(f"the cost has shape {cost.shape}: pass a square matrix of finite numbers, as many sources as targets")
    return linear_sum_assignment(cost)[1]


def deep_jdot(joint: Joint, weight: float, of_features: float = 0.01) -> Tensor:
    """Joint-distribution transport: a pair costs its squared feature distance times `of_features`, plus the cross-entropy of the
    target's prediction with the *source's* label (Damodaran et al. 2018, arXiv:1803.10081). The plan is found with fixed features.

    Raises ValueError when the two batches differ in size.
    """
    distance = torch.cdist(joint.source_features, joint.target_features).square()
    negative_log = -joint.target_logits.log_softmax(1)[:, joint.source_labels].T  # [i, j]: label of source i on target j
    partner = torch.as_tensor(cheapest_partners((of_features * distance + negative_log).detach().cpu().numpy()))
    moved = (joint.source_features - joint.target_features[partner]).square().sum(1).mean()
    return weight * (of_features * moved + F.cross_entropy(joint.target_logits[partner], joint.source_labels))
