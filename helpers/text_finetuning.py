"""Fine-tune the top of a sentence encoder: the frozen layers run once and are cached, the loop, and the arms of lesson 13.

`Tail` has a body and a linear `classifier`, so `parameter_groups`, `snapshot` and `distance` of `finetuning` work on it.
"""
from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import joblib
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers import config, experiment, finetuning, lora, text
from helpers.backbones import minilm
from helpers.data import docstrings, logs
from helpers.data.cache import cached
from helpers.errors import CourseError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.modeling_outputs import SequenceClassifierOutput

MAX_TOKENS = 32
SWEEP = Path(__file__).with_suffix(".json")
STEPS, BATCH, HEAD_RATE = 30, 16, 1e-2
TASKS = {"topic": 20, "category": 40}  # labels per class
# The first layer that is trained (what is below runs once), and how.
ARMS = {
    "last layer": (5, "weights"),
    "last two layers": (4, "weights"),
    "last two, rates fall": (4, "decay"),
    "LoRA on the last two": (4, "lora"),
    "all six layers": (0, "weights"),
}
LORA_ARM = "LoRA on the last two"


@cached
def _states(texts: list[str], layer: int, max_tokens: int, weights: str) -> np.ndarray:
    # `weights` is not used: it is the weights' hash, there so that other weights get a cache entry of their own.
    encoder = minilm.load_minilm()
    encoder.encoder.layer = encoder.encoder.layer[:layer]
    return last_states(minilm.load_tokenizer(), encoder, texts, max_tokens)


def last_states(tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel, texts: list[str], max_tokens: int) -> np.ndarray:
    """(n, tokens, d) float32: what leaves any encoder of BERT's kind, 0 where a text has no token. Not cached.

    To stop below, cut its layers first: `encoder.encoder.layer = encoder.encoder.layer[:10]`.
    """
    tokens = tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"]
    order = np.argsort([len(row) for row in tokens], kind="stable")
    found = np.zeros((len(texts), max(len(row) for row in tokens), encoder.config.hidden_size), np.float32)
    with torch.inference_mode(), config.threads(min(text.BACKBONE_THREADS, config.cores())):
        for start in config.progress(range(0, len(texts), text.BATCH), "frozen layers"):
            places = order[start : start + text.BATCH]
            batch = tokenizer.pad({"input_ids": [tokens[place] for place in places]}, return_tensors="pt").to(encoder.device)
            states = encoder(**batch).last_hidden_state * batch["attention_mask"].unsqueeze(-1)
            found[places, : states.shape[1]] = states.cpu().numpy()
    return found


def hidden_states(texts: Sequence[str], layer: int, max_tokens: int = MAX_TOKENS) -> torch.Tensor:
    """(n, tokens, 384) float32: what leaves the first `layer` layers of MiniLM, 0 where a text has no token. From the disk cache if there.

    Frozen layers give the same numbers at every step, so they need to run once. max_tokens: the rest of a longer text is not read.
    Raises ValueError for unusable texts, a layer outside 0 to 6 or max_tokens outside 3 to 256, CourseError as `minilm.verify`.
    """
    texts = text.check_texts(texts)
    if not 0 <= layer <= minilm.LAYERS:
        raise ValueError(f"layer is {layer}: choose 0 (the tokens' vectors) to {minilm.LAYERS} (the last layer's output)")
    if not 3 <= max_tokens <= minilm.MAX_TOKENS:
        raise ValueError(f"max_tokens is {max_tokens}: choose 3 to {minilm.MAX_TOKENS}, two of which mark the ends")
    minilm.verify()
    return torch.from_numpy(_states(texts, layer, max_tokens, minilm.SHA256["model.safetensors"]))


class Tail(nn.Module):
    """The layers of an encoder from number `first` on (copies), the mean over the tokens scaled to length 1, and a linear classifier.

    Input: states (n, tokens, d), 0 where there is no token, as `hidden_states` returns them; labels (n,) or None.
    Output: an object with `logits` (n, classes) and, when labels were given, `loss`, as models of transformers have.
    class_weights: (classes,) float, how much an item of each class counts in the loss (None: alike).
    Raises ValueError when first is no layer of the encoder, or classes < 2.
    """

    def __init__(self, encoder: PreTrainedModel, first: int, classes: int, class_weights: torch.Tensor | None = None):
        super().__init__()
        depth = len(encoder.encoder.layer)
        if not 0 <= first <= depth:
            raise ValueError(f"first is {first}: the encoder has {depth} layers, choose 0 to {depth} (no layer at all)")
        if classes < 2:
            raise ValueError(f"classes is {classes}: a classifier needs 2 or more")
        self.layers = copy.deepcopy(encoder.encoder.layer[first:])
        self.classifier = nn.Linear(encoder.config.hidden_size, classes, device=encoder.device)
        self.class_weights = class_weights

    def features(self, states: torch.Tensor) -> torch.Tensor:
        """(n, tokens, d) -> (n, d) of length 1. Places at the end that no text of the batch needs are cut off first."""
        mask = (states != 0).any(-1)
        longest = int(mask.sum(1).max())
        states, mask = states[:, :longest], mask[:, :longest]
        # What is added to the attention scores before the softmax: 0 for a token, very negative for padding.
        hidden = torch.zeros_like(states[..., 0]).masked_fill(~mask, torch.finfo(states.dtype).min)
        hidden = hidden[:, None, None].expand(-1, 1, longest, -1)
        for layer in self.layers:
            states = layer(states, hidden)
        return F.normalize(minilm.mean_pool(states, mask), dim=1)

    def forward(self, states: torch.Tensor, labels: torch.Tensor | None = None) -> SequenceClassifierOutput:
        from transformers.modeling_outputs import SequenceClassifierOutput

        logits = self.classifier(self.features(states))
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        return SequenceClassifierOutput(loss=None if labels is None else F.cross_entropy(logits, labels, weights), logits=logits)


@torch.no_grad()
def embed(tail: Tail, states: torch.Tensor, batch_size: int = 64) -> np.ndarray:
    """The tail's features (n, d) float32 of length 1, in evaluation mode; texts of similar length share a batch."""
    tail.eval()
    device = tail.classifier.weight.device
    order = torch.argsort((states != 0).any(-1).sum(1), stable=True)
    parts = [tail.features(states[part].to(device)).cpu() for part in order.split(batch_size)]
    return torch.cat(parts)[torch.argsort(order)].numpy()


@torch.no_grad()
def predict(tail: Tail, states: torch.Tensor) -> np.ndarray:
    """(n,) The class with the largest logit, in evaluation mode."""
    vectors = torch.from_numpy(embed(tail, states)).to(tail.classifier.weight.device)
    return tail.classifier(vectors).argmax(1).cpu().numpy()


def fit_head(tail: Tail, states: torch.Tensor, labels: np.ndarray, strength: float = 1.0) -> Tail:
    """Set the classifier to the logistic regression on the tail's own features, in place: the best head before anything is tuned.

    strength: scikit-learn's C. As `finetuning.fit_classifier`, with texts of similar length in a batch.
    Raises ValueError unless every class of the classifier, three or more, occurs.
    """
    from sklearn.linear_model import LogisticRegression

    classes = len(tail.classifier.weight)
    found = np.unique(labels)
    if classes < 3 or found.tolist() != list(range(classes)):
        raise ValueError(f"the labels are {found.tolist()} for {classes} classes: three or more are needed, each with a text")
    probe = LogisticRegression(C=strength, max_iter=1000).fit(embed(tail, states), labels)
    with torch.no_grad():
        tail.classifier.weight.copy_(torch.from_numpy(probe.coef_))
        tail.classifier.bias.copy_(torch.from_numpy(probe.intercept_))
    return tail


def layer_groups(tail: Tail, rate: float, head_rate: float, decay: float = 1.0) -> list[dict]:
    """The optimiser's groups: the last layer at `rate`, each earlier one at `decay` times that of the next, the classifier at `head_rate`.

    Frozen parameters are left out. decay: 1 is one rate for all layers. (Layer-wise learning rate decay: Howard & Ruder 2018,
    arXiv:1801.06146; with transformers Clark et al. 2020, arXiv:2003.10555.) Raises ValueError when decay is not above 0, up to 1.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay is {decay}: choose above 0, up to 1 (one rate); above 1 the earlier, more general layers would move most")
    rates = [rate * decay**above for above in reversed(range(len(tail.layers)))]
    parts = [*zip(tail.layers, rates, strict=True), (tail.classifier, head_rate)]
    groups = [{"params": [p for p in part.parameters() if p.requires_grad], "lr": value} for part, value in parts]
    return [group for group in groups if group["params"]]


def length_batches(states: torch.Tensor, labels: np.ndarray, steps: int, seed: int, batch_size: int = BATCH) -> list[dict]:
    """`steps` random batches {"states", "labels"} for `finetune`, in which texts of similar length stand together: little is padding.

    The texts are shuffled, sorted by length within portions of eight batches, cut, and the batches of a portion shuffled; then all again.
    Raises ValueError when the lengths differ, there is no text, or steps or batch_size < 1.
    """
    if len(states) != len(labels) or not len(states):
        raise ValueError(f"{len(states)} texts and {len(labels)} labels: pass one label for each, and one text at least")
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps is {steps}, batch_size {batch_size}: use 1 or more of each")
    targets, lengths = torch.as_tensor(np.asarray(labels)), (states != 0).any(-1).sum(1).numpy()
    rng = np.random.default_rng(seed)
    places: list[np.ndarray] = []
    while len(places) < steps:
        order = rng.permutation(len(states))
        for start in range(0, len(order), 8 * batch_size):
            portion = order[start : start + 8 * batch_size]
            portion = portion[np.argsort(lengths[portion], kind="stable")]
            parts = [portion[at : at + batch_size] for at in range(0, len(portion), batch_size)]
            places += [parts[place] for place in rng.permutation(len(parts))]
    return [{"states": states[part, : lengths[part].max()], "labels": targets[part]} for part in places[:steps]]


def finetune(model: nn.Module, batches: Sequence[dict], groups: Sequence[dict], warm_up: float = 0.1, clip: float = 1.0) -> list[float]:
    """Train `model` in place, one step for each batch, by the recipe of transformers' Trainer; returns the loss of each step.

    batches: dictionaries of the model's arguments, labels among them, so that it returns an object with a `loss`. groups: the
    optimiser's, each with its rate (`layer_groups`). warm_up: the share of the steps in which the rates rise from 0; they then fall to
    0 in a straight line. clip: the largest length of the gradient. Leaves the model in evaluation mode.
    Raises ValueError when there is nothing to train, no batch, or the loss is not finite.
    """
    from transformers import get_linear_schedule_with_warmup

    parameters = [p for group in groups for p in group["params"] if p.requires_grad]
    if not parameters or not batches:
        raise ValueError(f"{len(parameters)} parameters to train on {len(batches)} batches: unfreeze something, pass a batch at least")
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, round(warm_up * len(batches)), len(batches))
    device, losses = parameters[0].device, []
    model.train()
    for batch in config.progress(batches, "fine-tune"):
        loss = model(**{name: value.to(device) for name, value in batch.items()}).loss
        if not torch.isfinite(loss):
            raise ValueError(f"the loss is {loss.item()} at step {len(losses) + 1}: lower the learning rate")
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


class Task(NamedTuple):
    """texts: (n,) strings. labels: (n,) int64. groups: (n,) int64, the file or package of each. class_names: one for each label."""

    texts: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    class_names: tuple[str, ...]


@lru_cache
def load_task(name: str) -> Task:
    """Lesson 12's task "topic" (of docstrings, nine classes, split by file) or "category" (of warnings, four classes, split by package).

    Without near-copies, at most 150 or 110 texts a class. Raises ValueError for another name, CourseError as the data's own functions.
    """
    if name not in TASKS:
        raise ValueError(f"no task called {name!r}: choose one of {', '.join(TASKS)}")
    topic = name == "topic"
    data = docstrings.load_docstrings("source", tuple(docstrings.SOURCE)) if topic else logs.load_messages("warnings")
    rng = np.random.default_rng(0)
    kept = np.arange(len(data.texts)) if topic else np.flatnonzero(~text.near_duplicates(data.texts))
    most = 150 if topic else 110
    some = np.concatenate([rng.permutation(kept[data.labels[kept] == c])[:most] for c in np.unique(data.labels)])
    some = some[~text.near_duplicates(data.texts[some])] if topic else some
    return Task(data.texts[some], data.labels[some], data.groups[some], data.class_names)


@lru_cache
def draw(name: str, seed: int, inner: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Places of the training texts of a task, as many of each class as `TASKS` says if there are, and of the texts to be judged on.

    Those are a quarter, of other groups. inner: only the *training side* of the same seed is used, and split once more by group: for
    choosing learning rates. Do not change the arrays. Raises as `load_task`.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    task = load_task(name)
    pool, judged = np.arange(len(task.labels)), np.arange(0)
    for _ in range(2 if inner else 1):
        splitter = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
        train, test = next(splitter.split(pool, task.labels[pool], task.groups[pool]))
        pool, judged = pool[train], pool[test]
    pool = np.random.default_rng(seed).permutation(pool)
    return np.concatenate([pool[task.labels[pool] == c][: TASKS[name]] for c in np.unique(task.labels)]), judged


@lru_cache
def _loaded(name: str, layer: int) -> torch.Tensor:
    return hidden_states(load_task(name).texts, layer)


@lru_cache
def _encoder() -> PreTrainedModel:
    return minilm.load_minilm()


def build(arm: str, classes: int, encoder: PreTrainedModel | None = None) -> Tail:
    """The layers that an arm of `ARMS` trains, as a `Tail`; with LoRA the layers are frozen. Raises ValueError for another arm."""
    if arm not in ARMS:
        raise ValueError(f"no arm called {arm!r}: choose one of {', '.join(ARMS)}")
    first, how = ARMS[arm]
    tail = Tail(_encoder() if encoder is None else encoder, first, classes)
    if how == "lora":
        lora.add_lora(tail)
        finetuning.unfreeze(tail.classifier)
    return tail


def train(name: str, arm: str, rate: float, seed: int, inner: bool = False) -> Tail:
    """Fine-tune an arm on a task of `TASKS`: the best head on frozen features first, then all that the arm trains.

    inner: as in `draw`. Raises ValueError for another task or arm, or when the loss is not finite.
    """
    task = load_task(name)
    learn, _ = draw(name, seed, inner)
    config.seed_all(seed)
    tail = build(arm, len(task.class_names))
    states = _loaded(name, ARMS[arm][0])
    fit_head(tail, states[learn], task.labels[learn])
    groups = layer_groups(tail, rate, HEAD_RATE, decay=0.5 if ARMS[arm][1] == "decay" else 1.0)
    finetune(tail, length_batches(states[learn], task.labels[learn], STEPS, seed), groups)
    return tail


@cached
def _adapter(name: str, rate: float, seed: int, recipe: tuple) -> dict[str, np.ndarray]:
    # `recipe` is not used: it is there so that another recipe, or other weights, get a cache entry of their own.
    tail = train(name, LORA_ARM, rate, seed)
    return {key: tensor.numpy() for key, tensor in lora.adapter(tail).items()}


def train_lora(name: str, rate: float, seed: int) -> Tail:
    """`train` with LoRA on the last two layers. Its adapter, some hundred kilobytes, comes from the disk cache when it is there."""
    task = load_task(name)
    recipe = (STEPS, BATCH, HEAD_RATE, TASKS[name], joblib.hash(task), minilm.SHA256["model.safetensors"])
    tail = build(LORA_ARM, len(task.class_names))
    tail.load_state_dict({key: torch.from_numpy(values) for key, values in _adapter(name, rate, seed, recipe).items()}, strict=False)
    return tail


def judge(tail: Tail, name: str, arm: str, seed: int, inner: bool = False) -> float:
    """Balanced accuracy, the mean over the classes of the share recognised, on the texts that `draw` keeps for this."""
    from sklearn.metrics import balanced_accuracy_score

    task = load_task(name)
    _, judged = draw(name, seed, inner)
    return float(balanced_accuracy_score(task.labels[judged], predict(tail, _loaded(name, ARMS[arm][0])[judged])))


def tuned_rates() -> dict[str, dict[str, float]]:
    """{task: {arm: rate}}: the best of the stored sweep (data_scripts/tune_text_finetuning.py). Raises CourseError when it is missing."""
    if not SWEEP.is_file():
        raise CourseError(f"{SWEEP.name} is missing in helpers: run `python data_scripts/tune_text_finetuning.py`")
    return experiment.best_rates(SWEEP, "task", "arm")
