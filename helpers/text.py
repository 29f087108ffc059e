"""Texts to features: run the frozen encoder once over all texts and keep the result on disk; find texts that are nearly the same."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers import config
from helpers.backbones import minilm
from helpers.data.cache import cached

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BATCH = 64
BACKBONE_THREADS = 2


def check_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list. Raises ValueError when they are one string, none, not strings, or one of them is empty."""
    if isinstance(texts, str):
        raise ValueError("one string was passed: pass a list of texts, [text] for a single one")
    texts = list(texts)
    if not texts:
        raise ValueError("there are no texts: pass one or more")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"text {place} is a {type(text).__name__}, not a string: drop or replace missing values first")
        if not text.strip():
            raise ValueError(f"text {place} is empty: an empty text has no meaning to embed, drop it")
    return [str(text) for text in texts]  # NumPy's strings too


def encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel, max_tokens: int = minilm.MAX_TOKENS
) -> np.ndarray:
    """(n, d) float32: the mean over each text's tokens in the model's last layer, scaled to length 1.

    Texts of similar length share a batch, so little is padded. max_tokens: the rest of a longer text is not read.
    Raises ValueError for unusable texts (see `check_texts`) or max_tokens outside 3 to the model's own limit.
    """
    import torch
    import torch.nn.functional as F

    texts = check_texts(texts)
    if not 3 <= max_tokens <= model.config.max_position_embeddings:
        raise ValueError(f"max_tokens is {max_tokens}: choose 3 to {model.config.max_position_embeddings}, two of which mark the ends")
    tokens = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]
    order = np.argsort([len(row) for row in tokens], kind="stable")
    found = np.empty((len(texts), model.config.hidden_size), np.float32)
    device = next(model.parameters()).device
    with torch.inference_mode(), config.threads(min(BACKBONE_THREADS, config.cores())):
        for start in config.progress(range(0, len(texts), BATCH), "embed texts"):
            places = order[start : start + BATCH]
            batch = tokenizer.pad({"input_ids": [tokens[place] for place in places]}, return_tensors="pt").to(device)
            states = model(**batch).last_hidden_state
            found[places] = F.normalize(minilm.mean_pool(states, batch["attention_mask"]), dim=1).cpu().numpy()
    return found


@cached
def _embed(texts: list[str], max_tokens: int, weights: str) -> np.ndarray:
    # `weights` is not used: it is the weights' hash, there so that other weights get a cache entry of their own.
    return encode(texts, minilm.load_tokenizer(), minilm.load_minilm(), max_tokens)


def embed(texts: Sequence[str], max_tokens: int = minilm.MAX_TOKENS) -> np.ndarray:
    """Sentence embeddings (n, 384) float32 of length 1 by all-MiniLM-L6-v2, from the disk cache when it has them.

    The product of two of them is the cosine of their angle: near 1 for texts of one meaning. The encoder is English; it lower-cases, and
    maps emoji and most other scripts to few or unknown pieces.
    Raises ValueError for unusable texts or max_tokens (see `encode`), CourseError when the weights cannot be verified.
    """
    minilm.verify()
    return _embed(check_texts(texts), max_tokens, minilm.SHA256["model.safetensors"])


def near_duplicates(texts: Sequence[str], threshold: float = 0.8) -> np.ndarray:
    """(n,) bool: True for a text that is nearly the same as an earlier one, by the cosine of their counts of words and pairs of words.

    threshold: the smallest cosine that counts, in (0, 1]. Keep `~near_duplicates(texts)` before splitting: a copy on both sides of a split
    is a question with its answer. Raises ValueError for unusable texts or threshold.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = check_texts(texts)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}: choose a cosine above 0, up to 1 (the same words)")
    vectors = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b").fit_transform(texts)
    similar = (vectors @ vectors.T).tocoo()
    later = (similar.data >= threshold - 1e-9) & (similar.row < similar.col)
    copies = np.zeros(len(texts), bool)
    pairs = sorted(zip(similar.row[later].tolist(), similar.col[later].tolist(), strict=True))
    for first, second in pairs:
        if not copies[first]:  # what resembles only a dropped text stays
            copies[second] = True
    return copies
