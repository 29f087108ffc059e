"""What to do in a target without labels: find its groups, say how well they fit the classes, name them, and notice what is new."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import training

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from helpers.data.augment import Augment


def angles() -> Pipeline:
    """A scaler to fit: every column with mean 0 and deviation 1, then every row with length 1, so that distances compare directions."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    return make_pipeline(StandardScaler(), Normalizer())


def k_means(features: np.ndarray, k: int, *, standardise: bool = True, restarts: int = 10, seed: int = 0) -> Pipeline:
    """k-means of the (n, d) features, fitted: of their `angles`, or, without `standardise`, of the features as they are.

    Returns scikit-learn's pipeline: `predict` gives clusters from 0 to k-1, `transform` the distances (n, k) to the centres, also for
    rows that it was not fitted on. restarts: the best of so many starts counts. Raises ValueError unless 1 <= k <= n.
    """
    from sklearn.cluster import KMeans
    from sklearn.pipeline import make_pipeline

    if not 1 <= k <= len(features):
        raise ValueError(f"k is {k} with {len(features)} rows: choose 1 or more, up to the number of rows")
    scaler = angles() if standardise else "passthrough"
    return make_pipeline(scaler, KMeans(k, n_init=restarts, random_state=seed)).fit(features)


def _whole(values: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{what} have shape {values.shape}: pass one whole number for each image")
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0:
        raise ValueError(f"{what} must be whole numbers from 0, not {values.dtype} from {values.min()}")
    return values


def best_match(clusters: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """{cluster: label}, one to one, with as many images right as possible (Kuhn 1955, "The Hungarian method").

    clusters, labels: (n,) whole numbers from 0. Clusters without a partner, when there are more clusters than classes, are left out.
    It looks at all labels, so it measures; it is no method. Raises ValueError for unequal lengths or other values.
    """
    from scipy.optimize import linear_sum_assignment

    clusters, labels = _whole(clusters, "clusters"), _whole(labels, "labels")
    if len(clusters) != len(labels):
        raise ValueError(f"{len(clusters)} clusters and {len(labels)} labels: pass one of each for each image")
    table = np.zeros((clusters.max() + 1, labels.max() + 1), int)
    np.add.at(table, (clusters, labels), 1)
    return {int(c): int(y) for c, y in zip(*linear_sum_assignment(-table), strict=True) if table[c, y]}


def cluster_accuracy(clusters: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose label is the one matched to their cluster by `best_match`. Raises as that does."""
    match = best_match(clusters, labels)
    return float(np.mean([match.get(int(c), -1) == y for c, y in zip(clusters, labels, strict=True)]))


def stability(features: np.ndarray, k: int, *, standardise: bool = True, repeats: int = 2, seed: int = 0) -> float:
    """How alike two k-means are that saw two different halves: the mean adjusted Rand index of their clusters of all rows.

    About 0: chance; 1: the same groups whatever the sample. (Ben-Hur, Elisseeff & Guyon 2002.) Raises ValueError when k is less than 2 or
    more than half of the rows.
    """
    from sklearn.metrics import adjusted_rand_score

    if not 2 <= k <= len(features) // 2:
        raise ValueError(f"k is {k} with {len(features)} rows: choose 2 or more, up to half of the rows")
    rng, scores = np.random.default_rng(seed), []
    for _ in range(repeats):
        halves = np.array_split(rng.permutation(len(features)), 2)
        recipe = {"standardise": standardise, "restarts": 3, "seed": seed}
        first, second = (k_means(features[half], k, **recipe).predict(features) for half in halves)
        scores.append(adjusted_rand_score(first, second))
    return float(np.mean(scores))


def scan_k(features: np.ndarray, ks: Sequence[int], *, standardise: bool = True, seed: int = 0) -> pd.DataFrame:
    """What can be said about each number of clusters without a label: a table with the columns k, silhouette and stability.

    silhouette: mean of (b - a) / max(a, b), a the mean distance to the own cluster, b to the next one (Rousseeuw 1987), measured in the
    space where k-means works. Raises ValueError as `stability`.
    """
    import pandas as pd
    from sklearn.metrics import silhouette_score

    rows = []
    for k in ks:
        model = k_means(features, k, standardise=standardise, restarts=5, seed=seed)
        silhouette = silhouette_score(model[:-1].transform(features), model[-1].labels_)
        rows.append({"k": k, "silhouette": silhouette, "stability": stability(features, k, standardise=standardise, seed=seed)})
    return pd.DataFrame(rows)


def queries(features: np.ndarray, budget: int, *, standardise: bool = True, seed: int = 0) -> tuple[np.ndarray, Pipeline]:
    """Which images to have labelled: cut the (n, d) features into `budget` clusters, and take the image nearest to each centre.

    Returns the images' row numbers (budget,), in the order of the clusters, and the fitted k-means. Raises ValueError as `k_means`.
    """
    model = k_means(features, budget, standardise=standardise, seed=seed)
    return model.transform(features).argmin(0), model


def sharpen(soft: Tensor) -> Tensor:
    """The target of deep clustering: (n, k) soft assignments squared, divided by the size of their cluster, rows again with sum 1.

    (Xie, Girshick & Farhadi 2016, arXiv:1511.06335, eq. 3.) Raises ValueError when the rows are not probabilities.
    """
    if soft.ndim != 2 or (soft < 0).any() or not torch.allclose(soft.sum(1), torch.ones(len(soft), dtype=soft.dtype), atol=1e-3):
        raise ValueError("soft assignments are (n, k), 0 or more, and each row has sum 1: apply softmax first")
    weight = soft**2 / (soft.sum(0) + 1e-12)
    return weight / weight.sum(1, keepdim=True)


class DeepClusters(nn.Module):
    """A net whose features are pulled towards k centres. Calling it gives soft assignments (n, k) of images.

    model: has `features`. centres (k, d) are trained with the net; the features are standardised by `mean` and `scale` (d,), which stay.
    """

    def __init__(self, model: nn.Module, images: Tensor, k: int, temperature: float, seed: int):
        super().__init__()
        self.model, self.temperature = copy.deepcopy(model).eval(), temperature
        with torch.no_grad():
            features = self.model.features(images)
            self.register_buffer("mean", features.mean(0))
            deviation = features.std(0)
            # A feature that hardly varies now would be blown up as soon as training moves it.
            self.register_buffer("scale", torch.maximum(deviation, 0.2 * deviation.mean()) + 1e-9)
            start = k_means(self.directions(images).numpy(), k, standardise=False, seed=seed)
        self.centres = nn.Parameter(torch.from_numpy(start[-1].cluster_centers_).float())

    def directions(self, images: Tensor) -> Tensor:
        """The features (n, d), standardised as at the start, with length 1."""
        return F.normalize((self.model.features(images) - self.mean) / self.scale, dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return (-(torch.cdist(self.directions(images), self.centres) ** 2) / self.temperature).softmax(1)

    @torch.no_grad()
    def predict(self, images: Tensor) -> np.ndarray:
        """The cluster of each image (n,), in evaluation mode."""
        self.eval()
        return self(images).argmax(1).numpy()


def deep_cluster(
    model: nn.Module,
    images: Tensor,
    k: int,
    augment: Augment,
    *,
    steps: int = 200,
    learning_rate: float = 3e-3,
    temperature: float = 0.5,
    refresh: int = 20,
    seed: int = 0,
) -> DeepClusters:
    """Deep embedded clustering with augmentation: start from k-means of the net's features, then train net and centres together.

    model: has `features`; a copy of it is trained. images (n, c, h, w) without labels. Every `refresh` steps the soft assignments of the
    plain images are sharpened; the net then learns to give these to changed images. (Xie et al. 2016, arXiv:1511.06335, with the softmax
    of squared distances / temperature for their Student's t; augmentation: Guo et al. 2018.)
    Raises ValueError when k is less than 2, or as `k_means`.
    """
    if k < 2:
        raise ValueError(f"k is {k}: one cluster has nothing to learn, choose 2 or more")
    clusters = DeepClusters(model, images, k, temperature, seed)
    optimizer = torch.optim.AdamW([*clusters.model.features.parameters(), clusters.centres], lr=learning_rate)
    scheduler = training.make_schedule(optimizer, "cosine", steps)
    generator = torch.Generator().manual_seed(seed)
    for step, index in enumerate(training.batches(len(images), 128, steps, seed)):
        if step % refresh == 0:
            with torch.no_grad():
                targets = sharpen(clusters.eval()(images))
            clusters.train()
        loss = F.kl_div(clusters(augment(images[index], generator)).log(), targets[index], reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return clusters.eval()


class Seeded(NamedTuple):
    """clusters: (n,) of each row; 0 … known-1 are the labelled classes in rising order. centres: (k, d)."""

    clusters: np.ndarray
    centres: np.ndarray


def seeded_k_means(features: np.ndarray, labels: np.ndarray, k: int, restarts: int = 10, rounds: int = 100, seed: int = 0) -> Seeded:
    """k-means in which some rows already have a class: these stay in it, the rest may join them or form k - known new clusters.

    features (n, d): standardise them before. labels (n,): whole numbers, -1 where unknown. (Basu, Banerjee & Mooney 2002, constrained
    k-means; used for discovering classes by Vaze et al. 2022, arXiv:2201.02609.) Other centres start far from those that exist already
    (k-means++); the best of `restarts` counts. Raises ValueError when no row is labelled, k is too small, or too few rows are free.
    """
    features, labels = np.asarray(features, float), np.asarray(labels)
    if labels.shape != (len(features),):
        raise ValueError(f"labels have shape {labels.shape} for {len(features)} rows: pass one for each row, -1 where unknown")
    known, free = np.unique(labels[labels >= 0]), np.flatnonzero(labels < 0)
    if not len(known):
        raise ValueError("no row has a label: use k_means, or give some rows their class")
    if not len(known) <= k <= len(known) + len(free):
        raise ValueError(f"k is {k} with {len(known)} labelled classes and {len(free)} free rows: choose a k in between")
    given = {place: labels == name for place, name in enumerate(known)}
    rng, best, lowest = np.random.default_rng(seed), None, np.inf
    for _ in range(restarts):
        centres = [features[rows].mean(0) for rows in given.values()]
        while len(centres) < k:
            distance = _squares(features[free], np.array(centres)).min(1) + 1e-12
            centres.append(features[rng.choice(free, p=distance / distance.sum())])
        centres, old = np.array(centres), None
        for _ in range(rounds):
            squares = _squares(features, centres)
            clusters = squares.argmin(1)
            for place, rows in given.items():
                clusters[rows] = place
            if old is not None and (clusters == old).all():
                break
            centres = np.array([features[clusters == c].mean(0) if (clusters == c).any() else centres[c] for c in range(k)])
            old = clusters
        spread = _squares(features, centres)[np.arange(len(features)), clusters].sum()
        if spread < lowest:
            best, lowest = Seeded(clusters, centres), spread
    return best


def _squares(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances (n, k)."""
    from sklearn.metrics.pairwise import euclidean_distances

    return euclidean_distances(rows, centres, squared=True)


def strangeness(normal: np.ndarray, new: np.ndarray, neighbours: int = 5) -> np.ndarray:
    """An anomaly score (m,) of the `new` rows (m, d): the mean distance to their nearest `neighbours` among the `normal` ones (n, d).

    Large means unlike everything seen. Scale the features before. (Ramaswamy, Rastogi & Shim 2000; on deep features Sun et al. 2022,
    arXiv:2204.06507.) Raises ValueError when the sizes do not fit or there are fewer normal rows than neighbours.
    """
    from sklearn.neighbors import NearestNeighbors

    if normal.shape[1:] != new.shape[1:]:
        raise ValueError(f"normal rows have {normal.shape[1:]} features, new rows {new.shape[1:]}: use the same features for both")
    if not 1 <= neighbours <= len(normal):
        raise ValueError(f"neighbours is {neighbours} with {len(normal)} normal rows: choose 1 or more, up to their number")
    return NearestNeighbors(n_neighbors=neighbours).fit(normal).kneighbors(new)[0].mean(1)
