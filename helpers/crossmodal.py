"""Two frozen encoders in one space: a linear map on each, a contrastive loss over pairs, and retrieval from one side to the other."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers import config
from helpers.training import batches

LARGEST_SCALE = 60.0


def contrastive_loss(
    first: torch.Tensor, second: torch.Tensor, scale: torch.Tensor | float = 12.0, same: torch.Tensor | None = None
) -> torch.Tensor:
    """The symmetric contrastive loss of n pairs of vectors (n, d): each must recognise its partner among all n, in both directions.

    The vectors are scaled to length 1; their products times `scale` are the logits of two cross-entropies, whose mean this is.
    same: (n, n) bool, True where first[i] and second[j] belong together too (two images with one caption); the target is then shared
    equally among them. (Radford et al. 2021, arXiv:2103.00020, figure 3; van den Oord et al. 2018, arXiv:1807.03748.)
    Raises ValueError when the shapes differ, there are fewer than two pairs, or `same` leaves out a pair itself.
    """
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"shapes are {tuple(first.shape)} and {tuple(second.shape)}: pass n vectors of the same length on both sides")
    if len(first) < 2:
        raise ValueError("one pair alone has nothing to be told apart from: pass two or more")
    logits = scale * F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    targets = torch.eye(len(first), device=logits.device) if same is None else same.to(logits)
    if not targets.diagonal().all():
        raise ValueError("`same` must be True on its diagonal: each vector belongs to its own partner")
    across = -(targets / targets.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    down = -(targets / targets.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (across + down) / 2


class TwoMaps(nn.Module):
    """A linear map for each side into a shared space of `width` numbers. The inputs are standardised by what `fit_maps` saw."""

    def __init__(self, first: int, second: int, width: int = 128, dropout: float = 0.2):
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm1d(first, affine=False), nn.Dropout(dropout), nn.Linear(first, width))
        self.second = nn.Sequential(nn.BatchNorm1d(second, affine=False), nn.Linear(second, width))
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    @property
    def scale(self) -> torch.Tensor:
        """What the cosines are multiplied by in the loss, learned, at most `LARGEST_SCALE`."""
        return self.log_scale.exp().clamp(max=LARGEST_SCALE)

    @torch.no_grad()
    def embed(self, vectors: np.ndarray, side: str) -> np.ndarray:
        """(n, d) -> (n, width) of length 1. side: "first" or "second". Raises ValueError for another side or another d."""
        if side not in ("first", "second"):
            raise ValueError(f"no side called {side!r}: choose first or second")
        part = getattr(self, side)
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != part[0].num_features:
            raise ValueError(f"the vectors have shape {vectors.shape}, the {side} side takes (n, {part[0].num_features})")
        self.eval()
        return F.normalize(part(torch.from_numpy(vectors)), dim=1).numpy()


def fit_maps(
    first: np.ndarray, second: np.ndarray, names: np.ndarray | None = None, *, steps: int = 250, learning_rate: float = 2e-3,
    width: int = 128, batch_size: int = 128, seed: int = 0,
) -> TwoMaps:
    """Train two maps on pairs of vectors: first (n, d), second (n, e).

    names: (n,) whole numbers; pairs with the same number count as belonging together (None: each pair only with itself).
    Returns the maps in evaluation mode. Raises ValueError when the numbers of pairs differ, or there are fewer than two.
    """
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second) or len(first) < 2:
        raise ValueError(f"shapes are {first.shape} and {second.shape}: pass two or more pairs, as many on one side as on the other")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        maps = TwoMaps(first.shape[1], second.shape[1], width)
        for part, values in ((maps.first, first), (maps.second, second)):
            part[0].running_mean.copy_(torch.from_numpy(values.mean(0)))
            part[0].running_var.copy_(torch.from_numpy(values.var(0) + 1e-4))
        ids = torch.arange(len(first)) if names is None else torch.as_tensor(np.asarray(names))
        left, right = torch.from_numpy(first), torch.from_numpy(second)
        optimizer = torch.optim.AdamW(maps.parameters(), lr=learning_rate, weight_decay=0.05, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        maps.train()
        for module in (maps.first[0], maps.second[0]):
            module.eval()  # standardised by all pairs, not by a batch
        for index in config.progress(batches(len(first), batch_size, steps, seed), "fit maps"):
            same = ids[index][:, None] == ids[index][None]
            loss = contrastive_loss(maps.first(left[index]), maps.second(right[index]), maps.scale, same)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return maps.eval()


def recall_at(similarity: np.ndarray, truth: np.ndarray, k: int = 1) -> float:
    """The share of queries whose right answer is among the k most similar. similarity: (queries, candidates); truth: (queries,) places.

    Chance is k / candidates. Raises ValueError when shapes do not fit, there is no query, or k is not in 1 … candidates.
    """
    similarity, truth = np.asarray(similarity), np.asarray(truth)
    if similarity.ndim != 2 or truth.shape != similarity.shape[:1] or not len(truth):
        raise ValueError(f"shapes are {similarity.shape} and {truth.shape}: pass (queries, candidates) and (queries,), with a query")
    if not 1 <= k <= similarity.shape[1]:
        raise ValueError(f"k is {k} for {similarity.shape[1]} candidates: choose 1 to {similarity.shape[1]}")
    if truth.min() < 0 or truth.max() >= similarity.shape[1]:
        raise ValueError(f"a right answer is {truth.max()}, of {similarity.shape[1]} candidates: what is never offered cannot be found")
    better = (similarity > similarity[np.arange(len(truth)), truth][:, None]).sum(1)
    level = (similarity == similarity[np.arange(len(truth)), truth][:, None]).sum(1)
    # Of `level` equal candidates, each is as likely to come first: constant similarities score at chance, not at 1.
    return float(np.clip((k - better) / level, 0, 1).mean())


# What CLIP's images are standardised by: its half of the contract.
CLIP_MEAN, CLIP_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_embed(model: nn.Module, images: np.ndarray | None = None, texts: list[str] | None = None, tokenizer=None) -> np.ndarray:
    """(n, d) of length 1: images (n, h, w, 3) uint8, or texts with CLIP's tokenizer, in the space that both share.

    (Radford et al. 2021, arXiv:2103.00020.) Raises ValueError unless exactly one of images and texts is given, or when unusable.
    """
    from helpers.data.images import check_images
    from helpers.text import check_texts

    if (images is None) == (texts is None):
        raise ValueError("pass either images or texts")
    device = next(model.parameters()).device
    parts = []
    with torch.inference_mode():
        if texts is not None:
            texts, length = check_texts(texts), model.config.text_config.max_position_embeddings
            for start in range(0, len(texts), 64):
                batch = tokenizer(texts[start : start + 64], padding=True, truncation=True, max_length=length, return_tensors="pt")
                states = model.text_model(input_ids=batch["input_ids"].to(device), attention_mask=batch["attention_mask"].to(device))
                parts.append(model.text_projection(states.pooler_output))
        else:
            images, side = check_images(images), model.config.vision_config.image_size
            mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_DEVIATION))
            for start in config.progress(range(0, len(images), 32), "embed images"):
                batch = torch.from_numpy(images[start : start + 32]).permute(0, 3, 1, 2).float() / 255
                batch = F.interpolate(batch, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
                states = model.vision_model(pixel_values=((batch - mean) / deviation).to(device))
                parts.append(model.visual_projection(states.pooler_output))
    return F.normalize(torch.cat(parts), dim=1).cpu().numpy()
