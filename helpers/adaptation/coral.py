"""Correlation alignment: make the covariances of the two domains equal, as a transform or as a loss."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from helpers.adaptation.fit import Joint


def _check(x: np.ndarray | Tensor, y: np.ndarray | Tensor) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features have shapes {tuple(x.shape)} and {tuple(y.shape)}: pass (n, d) and (m, d)")
    if min(len(x), len(y)) < 2:
        raise ValueError(f"{len(x)} and {len(y)} rows: a covariance needs two or more of each domain")


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a symmetric positive matrix, by its eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T


def coral_transform(source: np.ndarray, target: np.ndarray, regularisation: float = 1.0) -> np.ndarray:
    """The source features (n, d) with the target's (m, d) covariance: whitened, then coloured; the mean stays the source's.

    regularisation: added to the diagonal of both covariances; with fewer rows than features it must be above 0.
    (Sun, Feng & Saenko, AAAI 2016, algorithm 1.) Raises ValueError for unequal feature sizes or fewer than two rows.
    """
    _check(source, target)
    ridge = regularisation * np.eye(source.shape[1])
    covariances = [np.cov(np.asarray(x, np.float64), rowvar=False).reshape(ridge.shape) + ridge for x in (source, target)]
    mean = source.mean(0, dtype=np.float64)
    return (source - mean) @ _power(covariances[0], -0.5) @ _power(covariances[1], 0.5) + mean


def coral(x: Tensor, y: Tensor) -> Tensor:
    """Squared Frobenius distance of the covariances of x (n, d) and y (m, d), divided by 4 d². A differentiable scalar >= 0.

    (Sun & Saenko 2016, Deep CORAL, arXiv:1607.01719, eq. 1.) Raises ValueError as `coral_transform`.
    """
    _check(x, y)
    difference = torch.atleast_2d(torch.cov(x.T)) - torch.atleast_2d(torch.cov(y.T))
    return difference.square().sum() / (4 * x.shape[1] ** 2)


def deep_coral(joint: Joint, weight: float) -> Tensor:
    """`coral` of the features and of the logits."""
    return weight * (coral(joint.source_features, joint.target_features) + coral(joint.source_logits, joint.target_logits))
