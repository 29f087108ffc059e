"""Classify by descriptions of the classes, without labels or with few: scores, calibration, combination, SetFit-style tuning, rejection.

(Descriptions: Chang et al. 2008, "Importance of semantic representation: dataless classification", AAAI. Ensembles of sentences: Radford
et al. 2021, arXiv:2103.00020. SetFit: Tunstall et al. 2022, arXiv:2209.11055.)
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from helpers import text

# Six sentences for each topic of `docstrings`, written from the names of the topics alone, before any of them was measured.
SENTENCES = {
    "neural nets": (
        "Layers of a neural network.", "A deep learning module with trainable weights.", "Computes the activation function of a layer.",
        "Applies a convolution, pooling, dropout or normalization to the input tensor.", "Loss functions for training a model.",
        "Recurrent, attention and embedding layers.",
    ),
    "images": (
        "Image processing.", "Filters, resizes or rotates an image.", "Converts an image from one colour space to another.",
        "Detects edges, corners and regions in a picture.", "Reads pixels of a photograph.",
        "Segmentation and morphology of grey images.",
    ),
    "tables": (
        "Tables of data with rows and columns.", "Operations on a data frame or a series.", "Group rows by a key and aggregate them.",
        "Select, sort, merge or join columns of a table by their index.", "Fill in or drop missing values.",
        "Parse dates and categories in a column.",
    ),
    "the web": (
        "Requests and responses on the web.", "An HTTP client or server.", "Sends headers, cookies and the body of a response.",
        "Handles a connection over a socket asynchronously.", "Authentication of a user by a URL and a token.",
        "Renders a template of an HTML page.",
    ),
    "statistics": (
        "Statistics and probability.", "A continuous or discrete random variable and its distribution.",
        "Performs a hypothesis test and returns its p-value.", "Computes the mean, variance or correlation of samples.",
        "Density, cumulative distribution function and quantiles.", "Confidence intervals and estimation of parameters.",
    ),
    "signals": (
        "Signal processing.", "Designs a digital low-pass filter.", "Computes the spectrum of a signal over time.",
        "The frequency response of a linear system.", "A window function or a wavelet.",
        "Resamples, filters or convolves a time series.",
    ),
    "graphs": (
        "Graphs of nodes and edges.", "Finds the shortest path between two nodes.",
        "Connected components, cliques and cycles of a graph.", "Generates a random network.", "Computes the centrality of the nodes.",
        "Trees, flows and matchings in a directed graph.",
    ),
    "plots": (
        "Plots and figures.", "Draws lines, bars or markers on the axes.", "Sets the label, the title or the legend of a figure.",
        "Colour maps, ticks and scales of an axis.", "The canvas of a window that shows a chart.", "Saves a figure to a file.",
    ),
    "algebra": (
        "Symbolic algebra.", "Simplifies or expands a mathematical expression.", "Solves an equation for a variable.",
        "Polynomials, groups and rings.", "Computes the integral or derivative of a function exactly.",
        "Symbolic matrices, vectors and numbers.",
    ),
}  # fmt: skip


def _table(values: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"{what} have shape {values.shape}: pass (texts, classes), with one text or more")
    if not np.isfinite(values).all():
        raise ValueError(f"{what} hold NaN or infinity")
    return values


def describe(sentences: Mapping[str, Sequence[str]]) -> np.ndarray:
    """{class: its sentences} -> (K, 384): for each class the mean of its sentences' embeddings, scaled to length 1.

    The product with embeddings (n, 384) of texts is a table (n, K) of cosines. Raises ValueError when there is no class, a class has no
    sentence or a plain string for its list, or a sentence is empty.
    """
    if not sentences:
        raise ValueError("there are no classes: pass {class: [sentence, ...]}")
    for name, listed in sentences.items():
        if isinstance(listed, str) or not len(listed):
            raise ValueError(f"class {name!r} has {listed!r} for its sentences: pass a list of one or more")
    vectors = text.embed([sentence for listed in sentences.values() for sentence in listed])
    ends = np.cumsum([len(listed) for listed in sentences.values()])
    means = np.stack([part.mean(0) for part in np.split(vectors, ends[:-1])])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def centre(cosines: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n, K) minus, for each class, its mean over the reference (m, K): cosines of texts without labels.

    It takes away that some description is near to everything. The classes must be about equally frequent in the reference: what is
    frequent there has a high mean for a good reason. Raises ValueError for other shapes or NaN.
    """
    cosines, reference = _table(cosines, "cosines"), _table(reference, "reference cosines")
    if cosines.shape[1] != reference.shape[1]:
        raise ValueError(f"there are {cosines.shape[1]} classes, and {reference.shape[1]} in the reference: use the same descriptions")
    return cosines - reference.mean(0)


def even_out(cosines: np.ndarray, sharpness: float = 20.0, rounds: int = 100) -> np.ndarray:
    """(n, K) probabilities whose rows sum to 1 and whose columns have about equal sums: each class gets the same share of these texts.

    Starts from exp(sharpness * cosine) and scales columns and rows in turn (Sinkhorn & Knopp 1967). Raises ValueError for other shapes,
    NaN, or a sharpness or rounds that are not positive.
    """
    cosines = _table(cosines, "cosines")
    if not sharpness > 0 or rounds < 1:
        raise ValueError(f"sharpness is {sharpness}, rounds {rounds}: both must be positive")
    from scipy.special import logsumexp

    logs = sharpness * cosines  # logarithms, since exp of a large sharpness would underflow to a column of zeros
    for _ in range(rounds):
        logs = logs - logsumexp(logs, axis=0)
        logs = logs - logsumexp(logs, axis=1, keepdims=True)
    return np.exp(logs)


def combine(log_probabilities: np.ndarray, cosines: np.ndarray, weight: float) -> np.ndarray:
    """(n, K) scores: a classifier's log-probabilities plus weight * the cosines to the descriptions.

    With `exp(weight * cosine)` for what the descriptions say before any label was seen, it is Bayes' rule up to a constant.
    Raises ValueError for shapes that differ, NaN, or a negative weight.
    """
    first, second = np.asarray(log_probabilities, float), np.asarray(cosines, float)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"log-probabilities have shape {first.shape}, cosines {second.shape}: pass (texts, classes) for both")
    if not weight >= 0:
        raise ValueError(f"weight is {weight}: use 0 (labels alone) or more")
    first = np.maximum(first, np.log(1e-12))  # a class that the classifier rules out can still be chosen
    return _table(first, "log-probabilities") + weight * _table(second, "cosines")


def prototypes(vectors: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(K, d): for each class 0 ... K-1 the mean of its vectors, scaled to length 1 (Snell et al. 2017, arXiv:1703.05175).

    Raises ValueError when a class has no vector.
    """
    labels = np.asarray(labels)
    missing = np.setdiff1d(np.arange(classes), labels)
    if len(missing):
        raise ValueError(f"class {missing[0]} has no labelled text: give every class one, or describe it")
    means = np.stack([vectors[labels == c].mean(0) for c in range(classes)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def rejection_threshold(scores: np.ndarray, accept: float = 0.9) -> float:
    """The score that a share `accept` of these texts reaches. scores: (n,) the best score of texts whose class *is* among the classes.

    Reject what scores less. Raises ValueError for no scores, NaN, or a share outside (0, 1).
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
        raise ValueError(f"scores have shape {scores.shape} or hold NaN: pass one number for each text")
    if not 0 < accept < 1:
        raise ValueError(f"accept is {accept}: choose a share between 0 and 1")
    return float(np.quantile(scores, 1 - accept))


def pair_loss(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loss of SetFit's pairs: all pairs of a batch should have cosine 1 within a class and 0 across classes; a scalar.

    vectors: (n, d) of length 1. labels: (n,). Both kinds of pairs weigh the same. A batch without one kind has only the other.
    """
    cosines, same = vectors @ vectors.T, labels[:, None] == labels[None]
    pairs = ~torch.eye(len(labels), dtype=torch.bool, device=same.device)
    near, apart = (1 - cosines[same & pairs]).square(), cosines[~same].square()
    return near.sum() / max(len(near), 1) + apart.sum() / max(len(apart), 1)
