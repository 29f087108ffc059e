"""A small translator from digits to words: encoder, attention, decoder; its loss, greedy and beam search; transfer to another language.

Names of its parts, for `finetuning.unfreeze_only`: symbols, encoder (they read), decoder, query, combine (they say), words, output (the
vocabulary, which belongs to one language).
"""
from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers.backbones import shipped
from helpers.data.number_words import BLANK, END, PADDING, SPECIAL, START, Language, symbols
from helpers.experiment import best_rates
from helpers.finetuning import unfreeze_only
from helpers.training import History, fit

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = Path(__file__).parent / "backbones" / "weights" / "translators.safetensors"
SCRIPT = "make_translators.py"  # in data_scripts/: what made them
STEPS = 120  # of training on a new language; a net from scratch is given three times as many
SWEEP = Path(__file__).with_suffix(".json")
RUNS = SWEEP.with_name("seq2seq_runs.json")  # accuracies that take too long for a lesson, made by data_scripts/run_translators.py
VOCABULARY = ("words", "output")  # the parts that belong to one language
DECODER = ("decoder", "query", "combine")
# What is trained on the new language; the rest of the source's net stays as it is.
ARMS = {
    "scratch": None,
    "vocabulary only": VOCABULARY,
    "vocabulary and decoder": (*VOCABULARY, *DECODER),
    "all weights": (*VOCABULARY, *DECODER, "symbols", "encoder"),
}


def attend(queries: torch.Tensor, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Look the queries (n, m, d) up in the states (n, s, d). Returns what was read (n, m, d) and the weights (n, m, s), which sum to 1.

    Scaled dot products (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), the states being keys and values.
    """
    weights = torch.softmax(queries @ states.transpose(1, 2) / math.sqrt(states.shape[-1]), dim=-1)
    return weights @ states, weights


class Translator(nn.Module):
    """Digits to words: a GRU that reads in both directions, and a GRU that writes and attends to what was read.

    Input symbols (n, s) and the words written so far (n, m), both int64; output logits (n, m, words) of each next word.
    (Bahdanau, Cho & Bengio 2015, arXiv:1409.0473; attention as in Luong, Pham & Manning 2015, arXiv:1508.04025.)
    """

    def __init__(self, words: int, width: int = 64, size: int = 32):
        super().__init__()
        self.symbols = nn.Embedding(BLANK + 1, size)
        self.encoder = nn.GRU(size, width // 2, batch_first=True, bidirectional=True)
        self.words = nn.Embedding(words, size)
        self.decoder = nn.GRU(size, width, batch_first=True)
        self.query = nn.Linear(width, width)
        self.combine = nn.Linear(2 * width, size)
        self.output = nn.Linear(size, words)

    def read(self, digits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A state for each symbol (n, s, width), and their mean (1, n, width), which the decoder starts from."""
        states, _ = self.encoder(self.symbols(digits))
        return states, states.mean(1)[None].contiguous()

    def write(
        self, before: torch.Tensor, hidden: torch.Tensor, states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """From the words before (n, m): logits of the next ones (n, m, words), the decoder's last state, attention (n, m, s)."""
        written, hidden = self.decoder(self.words(before), hidden)
        looked_up, weights = attend(self.query(written), states)
        return self.output(torch.tanh(self.combine(torch.cat([written, looked_up], -1)))), hidden, weights

    def forward(self, digits: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        states, hidden = self.read(digits)
        return self.write(before, hidden, states)[0]


def words_before(targets: torch.Tensor) -> torch.Tensor:
    """Teacher forcing: what the decoder is shown when it must say `targets` (n, length): `START`, then all targets but the last."""
    return torch.cat([torch.full_like(targets[:, :1], START), targets[:, :-1]], 1)


def sequence_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the target words; padding does not count. logits (n, m, words), targets (n, m)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING)


def train(
    model: Translator, language: Language, numbers: Sequence[int], *, steps: int, learning_rate: float = 8e-3,
    groups: list[dict] | None = None, batch_size: int = 32, seed: int = 0,
) -> History:  # fmt: skip
    """Train `model` in place by teacher forcing on the pairs of these numbers; what is frozen stays. Returns `training.fit`'s history.

    Raises ValueError when there are no numbers, one has no text in the language, or as `training.fit`.
    """
    numbers = _of_language(language, numbers)
    targets = torch.as_tensor(language.targets[numbers])

    def loss(net: nn.Module, digits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        wanted = targets[rows]
        wanted = wanted[:, : int((wanted != PADDING).sum(1).max())]  # no longer than the longest of the batch
        return sequence_loss(net(digits, words_before(wanted)), wanted)

    inputs, rows = torch.as_tensor(symbols(numbers)), np.arange(len(numbers))
    settings = {"learning_rate": learning_rate, "groups": groups, "batch_size": batch_size, "seed": seed}
    return fit(model, inputs, rows, steps=steps, weight_decay=0.01, loss=loss, **settings)


def _of_language(language: Language, numbers: Sequence[int]) -> np.ndarray:
    numbers = np.asarray(numbers)
    if not len(numbers):
        raise ValueError("there are no numbers: pass at least one")
    if numbers.max() >= len(language.targets):
        raise ValueError(f"the number {numbers.max()} has no text: {language.name} has {len(language.targets)} texts")
    return numbers


@torch.inference_mode()
def greedy(model: Translator, numbers: Sequence[int], length: int) -> np.ndarray:
    """(n, length) int64: for each number the likeliest next word, again and again, each fed back; `PADDING` after the end."""
    model.eval()
    states, hidden = model.read(torch.as_tensor(symbols(numbers)))
    word = torch.full((len(states), 1), START)
    ended, found = torch.zeros(len(states), 1, dtype=torch.bool), []
    for _ in range(length):
        logits, hidden, _ = model.write(word, hidden, states)
        word = logits.argmax(-1).masked_fill(ended, PADDING)
        ended = ended | (word == END)
        found.append(word)
        if ended.all():
            break
    return F.pad(torch.cat(found, 1), (0, length - len(found)), value=PADDING).numpy()


class Hypothesis(NamedTuple):
    """words: places in the vocabulary, with the end if it was reached. log_probability: of all of them together, natural logarithm."""

    words: tuple[int, ...]
    log_probability: float


@torch.inference_mode()
def beam_search(model: Translator, number: int, length: int, width: int = 4) -> list[Hypothesis]:
    """The `width` likeliest texts found for one number, best first, keeping `width` beginnings at each step; width 1 is greedy.

    Raises ValueError when width or length is below 1.
    """
    if width < 1 or length < 1:
        raise ValueError(f"width is {width}, length {length}: use 1 or more")
    model.eval()
    states, hidden = model.read(torch.as_tensor(symbols([number])))
    beams = [(Hypothesis((), 0.0), hidden)]
    for _ in range(length):
        candidates = []
        for beam, hidden in beams:
            if beam.words and beam.words[-1] == END:
                candidates.append((beam, hidden))
                continue
            logits, after, _ = model.write(torch.tensor([[beam.words[-1] if beam.words else START]]), hidden, states)
            best = logits[0, -1].log_softmax(-1).topk(min(width, logits.shape[-1]))
            for value, word in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                candidates.append((Hypothesis((*beam.words, word), beam.log_probability + value), after))
        beams = sorted(candidates, key=lambda candidate: -candidate[0].log_probability)[:width]
        if all(beam.words[-1] == END for beam, _ in beams):
            break
    return [beam for beam, _ in beams]


def exact_match(model: Translator, language: Language, numbers: Sequence[int]) -> float:
    """The share of numbers whose greedy translation is right from the first word to the end. Raises ValueError as `train`."""
    numbers = _of_language(language, numbers)
    wanted = language.targets[numbers]
    return float((greedy(model, numbers, wanted.shape[1]) == wanted).all(1).mean())


@torch.inference_mode()
def forced_accuracy(model: Translator, language: Language, numbers: Sequence[int]) -> float:
    """The share of words that are right when every word before is the true one, the end counted. Not what a user gets: see the lesson."""
    numbers = _of_language(language, numbers)
    model.eval()
    wanted = torch.as_tensor(language.targets[numbers])
    right = model(torch.as_tensor(symbols(numbers)), words_before(wanted)).argmax(-1) == wanted
    return float(right[wanted != PADDING].float().mean())


def coverage(language: Language, seen: Sequence[int], numbers: Sequence[int]) -> float:
    """The share of `numbers` whose every word occurs in the texts of the numbers `seen`: nobody who learns from these can reach more."""
    known = np.isin(language.targets[numbers], np.append(language.targets[seen], PADDING))
    return float(known.all(1).mean())


def replace_vocabulary(model: Translator, words: int, keep_special: bool = True) -> Translator:
    """A copy of `model` with a new (random) embedding and output for `words` words; every other weight is kept.

    keep_special: also keep the rows of padding, start and end, which mean the same in every language.
    Raises ValueError when words < 4: three are padding, start and end.
    """
    if words <= len(SPECIAL):
        raise ValueError(f"words is {words}: three are padding, start and end, so pass 4 or more")
    new, size = copy.deepcopy(model), model.words.embedding_dim
    new.words, new.output = nn.Embedding(words, size), nn.Linear(size, words)
    if keep_special:
        with torch.no_grad():
            new.words.weight[: len(SPECIAL)] = model.words.weight[: len(SPECIAL)]
            new.output.weight[: len(SPECIAL)] = model.output.weight[: len(SPECIAL)]
            new.output.bias[: len(SPECIAL)] = model.output.bias[: len(SPECIAL)]
    return new


def transfer(
    arm: str, language: Language, numbers: Sequence[int], *, source: str = "Spanish", rate: float | None = None,
    steps: int | None = None, keep_special: bool = True, seed: int = 0,
) -> Translator:  # fmt: skip
    """Train one of the `ARMS` on the pairs of these numbers: a net of `source` with a new vocabulary, or a net from scratch.

    Seed s takes the source's net s, s - (number of nets), …, so that the source's luck is part of the spread. rate: of learning; None
    takes the best of the stored sweep for the nearest number of pairs. steps: None means 120, and 360 for scratch. keep_special: see
    `replace_vocabulary`.
    Raises ValueError for another arm, and as `load_translator` and `train`.
    """
    if arm not in ARMS:
        raise ValueError(f"no arm called {arm!r}: choose one of {', '.join(ARMS)}")
    numbers, count = _of_language(language, numbers), len(language.vocabulary)
    pretrained = None if arm == "scratch" else load_translator(source, seed % len(provenance()["nets"].get(source, [0])))
    torch.manual_seed(seed)
    model = Translator(count) if pretrained is None else unfreeze_only(replace_vocabulary(pretrained, count, keep_special), *ARMS[arm])
    rate = best_rate(arm, len(numbers)) if rate is None else rate
    steps = (3 if arm == "scratch" else 1) * STEPS if steps is None else steps
    train(model, language, numbers, steps=steps, learning_rate=rate, seed=seed)
    return model


def best_rate(arm: str, pairs: int) -> float:
    """The learning rate that was best for this arm in the stored sweep, at the nearest number of pairs (on a logarithmic scale)."""
    rates = best_rates(SWEEP, "arm", "pairs")[arm]
    return rates[min(rates, key=lambda count: abs(math.log(count / pairs)))]


def provenance() -> dict:
    """How the shipped translators were made: script, seeds, versions, exact match on numbers held out, sha256."""
    return shipped.record(WEIGHTS)


def verify() -> Path:
    """The path of the shipped weights. Raises CourseError as `shipped.verified`."""
    return shipped.verified(WEIGHTS, provenance()["sha256"], SCRIPT)


def load_translator(source: str, number: int = 0) -> Translator:
    """A net pretrained on digits to words of `source`, with that language's vocabulary, in evaluation mode.

    number: which of the nets, that differ in their random start and the pairs they saw. Raises ValueError for a source or number that
    there is not, and as `verify`.
    """
    state = shipped.net_of(WEIGHTS, SCRIPT, source, number)
    model = Translator(len(state["output.bias"]))
    model.load_state_dict(state)
    return model.eval()
