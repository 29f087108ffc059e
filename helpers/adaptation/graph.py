"""Predictions spread over a graph of nearest neighbours, balanced between classes, and checked by a second pipeline."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def standardise(features: np.ndarray) -> np.ndarray:
    """Each column with mean 0 and deviation about 1, then each row with length 1, so that distances are angles."""
    scaled = (features - features.mean(0)) / (features.std(0) + 0.05)  # a feature that hardly varies is not blown up
    return scaled / (np.linalg.norm(scaled, axis=1, keepdims=True) + 1e-9)


def neighbour_graph(features: np.ndarray, neighbours: int = 10) -> np.ndarray:
    """A symmetric (n, n) float32 matrix of edge weights D^-1/2 W D^-1/2 between each row of `features` and its nearest neighbours.

    W: exp(-distance² / (s_i s_j)), s the distance to the row's own last neighbour (Zelnik-Manor & Perona 2004), largest of both
    directions. Raises ValueError unless 1 <= neighbours < n.
    """
    n = len(features)
    if not 1 <= neighbours < n:
        raise ValueError(f"neighbours is {neighbours} with {n} rows: choose 1 or more, below the number of rows")
    squares = (features**2).sum(1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * features @ features.T, 0))
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, neighbours - 1, axis=1)[:, :neighbours]
    reach = np.take_along_axis(distance, nearest, 1)
    scale = reach.max(1)
    weights = np.zeros((n, n), np.float32)
    np.put_along_axis(weights, nearest, np.exp(-(reach**2) / (scale[:, None] * scale[nearest] + 1e-9)), 1)
    weights = np.maximum(weights, weights.T)
    root = 1 / np.sqrt(weights.sum(1) + 1e-9)
    return weights * root[:, None] * root


def spread(graph: np.ndarray, guesses: np.ndarray, stay: float = 0.1, rounds: int = 50) -> np.ndarray:
    """Each image's (n, classes) guesses, mixed again and again with its neighbours': F <- (1 - stay) graph F + stay guesses.

    Rows of the result add up to 1 (Zhou et al. 2003, "Learning with local and global consistency", with soft predictions in place of
    labels). Raises ValueError when the graph does not fit the guesses, or stay is not between 0 and 1.
    """
    if graph.shape != (len(guesses), len(guesses)):
        raise ValueError(f"the graph has shape {graph.shape} for {len(guesses)} guesses: build it from the same images")
    if not 0 < stay <= 1:
        raise ValueError(f"stay is {stay}: the share of an image's own guess lies above 0, up to 1")
    guesses = np.asarray(guesses, np.float32)
    mixed = guesses
    for _ in range(rounds):
        mixed = (1 - stay) * graph @ mixed + stay * guesses
    return mixed / (mixed.sum(1, keepdims=True) + 1e-12)


def balance(guesses: np.ndarray, prior: Sequence[float] | None = None, rounds: int = 20) -> np.ndarray:
    """The guesses (n, classes), rescaled so that the classes take the shares `prior` (None: equal) and each row adds up to 1.

    Sinkhorn's alternating scaling. It helps where the prior is right and harms where it is wrong.
    Raises ValueError when the prior does not have one positive share for each class.
    """
    classes = guesses.shape[1]
    shares = np.full(classes, 1 / classes) if prior is None else np.asarray(prior, float)
    if shares.shape != (classes,) or (shares <= 0).any():
        raise ValueError(f"the prior has shape {shares.shape} and minimum {shares.min():.3g}: give each of the {classes} classes a share")
    shares = shares / shares.sum()
    scaled = np.asarray(guesses, float) + 1e-8
    for _ in range(rounds):
        scaled = scaled / scaled.sum(0) * shares * len(scaled)
        scaled = scaled / scaled.sum(1, keepdims=True)
    return scaled


def propagate(features: np.ndarray, guesses: np.ndarray, *, balanced: bool = True, neighbours: int = 10, stay: float = 0.1) -> np.ndarray:
    """`guesses` spread over the neighbour graph of the standardised `features` (n, d), and balanced when the classes are known to be."""
    mixed = spread(neighbour_graph(standardise(features), neighbours), guesses, stay)
    return balance(mixed) if balanced else mixed
