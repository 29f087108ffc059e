"""Maximum mean discrepancy: the distance of two samples by the means of everything that a kernel can see, and its permutation test."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from helpers.adaptation.divergence import check_domains


def _kernel(x: torch.Tensor, y: torch.Tensor, widths: Sequence[float]) -> torch.Tensor:
    """(n, m): the mean of the Gaussian kernels exp(-distance^2 / (2 width^2)) of all widths, in 0-1."""
    if not len(widths) or min(widths) <= 0:
        raise ValueError(f"widths are {list(widths)}: pass one or more numbers above 0; median_width(x, y) finds a usual one")
    # Not torch.cdist: the gradient of a distance has no value where the distance is 0.
    squared = ((x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T).clamp(min=0)
    return torch.stack([torch.exp(-squared / (2 * width**2)) for width in widths]).mean(0)


def mmd2(x: torch.Tensor, y: torch.Tensor, widths: Sequence[float]) -> torch.Tensor:
    """Squared maximum mean discrepancy of samples x (n, d) and y (m, d): mean k(x, x') + mean k(y, y') - 2 mean k(x, y).

    widths: of the Gaussian kernels exp(-distance^2 / (2 width^2)), in the unit of the features; k is their *mean*, so the value lies in 0-2
    whatever their number. Returns a scalar, differentiable in x and y: the biased estimate (V-statistic; Gretton et al., JMLR 13, 2012,
    equation 5), which is 0 for x = y and otherwise above 0, by about (1/n + 1/m) even when both come from one distribution.
    Raises ValueError when a sample is empty or not two-dimensional, the features differ in number, or a width is not above 0.
    """
    if x.ndim != 2 or y.ndim != 2 or not len(x) or not len(y):
        raise ValueError(f"the samples have shapes {tuple(x.shape)} and {tuple(y.shape)}: pass (n, d) and (m, d), neither empty")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"the samples have {x.shape[1]} and {y.shape[1]} features: they must have the same")
    within = _kernel(x, x, widths).mean() + _kernel(y, y, widths).mean()
    return (within - 2 * _kernel(x, y, widths).mean()).clamp(min=0)


def median_width(x: torch.Tensor, y: torch.Tensor) -> float:
    """The median distance between different rows of both samples together, a usual kernel width. Not differentiable.

    Raises ValueError when more than half of the distances are 0.
    """
    both = torch.cat([x, y]).detach().double()
    width = torch.pdist(both).median().item() if len(both) > 1 else 0.0
    if width <= 0:
        raise ValueError("more than half of the rows are equal, so their median distance is no width: choose one yourself")
    return width


class PermutationTest(NamedTuple):
    """mmd2: as found. p_value: share of the permutations (the data as they are counted as one) that reach it. by_chance: their mmd2."""

    mmd2: float
    p_value: float
    by_chance: np.ndarray


def permutation_test(
    source: np.ndarray, target: np.ndarray, widths: Sequence[float] | None = None, permutations: int = 200, seed: int = 0
) -> PermutationTest:
    """Is the MMD of source (n, d) and target (m, d) larger than chance allows? The domains are dealt anew `permutations` times.

    If both samples come from one distribution, who belongs to which is arbitrary, and the p-value is at most a with probability a
    at most: for every sample size and kernel. The smallest possible one is 1 / (permutations + 1). Rows must be independent.
    widths: None for the median distance. Memory grows with (n + m)^2. (Gretton et al., JMLR 13, 2012; Phipson & Smyth 2010 for the + 1.)
    Raises ValueError for unusable samples, permutations < 1, or widths not above 0.
    """
    source, target = check_domains(source, target)
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}: deal the domains anew 1 time or more")
    both, n, m = torch.from_numpy(np.concatenate([source, target])), len(source), len(target)
    kernel = _kernel(both, both, widths if widths is not None else [median_width(both[:n], both[n:])])
    rng = np.random.default_rng(seed)
    orders = [np.arange(n + m), *(rng.permutation(n + m) for _ in range(permutations))]
    # With sign +1/n on one domain and -1/m on the other, MMD^2 = sign' K sign: all permutations in one product.
    sign = torch.full((n + m, permutations + 1), -1 / m, dtype=torch.float64)
    for column, order in enumerate(orders):
        sign[order[:n], column] = 1 / n
    values = (sign * (kernel @ sign)).sum(0).clamp(min=0).numpy()
    found, by_chance = values[0], values[1:]
    # Equal up to rounding counts as reached.
    reached = (by_chance >= found - 1e-12).sum()
    return PermutationTest(float(found), float((1 + reached) / (1 + permutations)), by_chance)
