"""One training loop for every net of the course: steps, learning-rate schedule, validation, early stopping, history."""
from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers import config
from helpers.data.augment import Augment
from helpers.data.images import check_labels

Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
SCHEDULES = ("one-cycle", "cosine", "warm-up-cosine", "constant")
WARM_UP = 0.1  # share of the steps


@dataclass
class History:
    """What happened in `fit`: for each step the training loss and the first group's learning rate; for each validation (step,
    accuracy); the seconds it took; and the step after which it stopped."""

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    stopped_at: int = 0


@dataclass
class EarlyStopping:
    """Stop when the validation accuracy has not risen by more than `min_gain` for `patience` validations, and go back to the best.

    Without going back, a net keeps the weights of the moment it stopped, which are `patience` validations past its best.
    (Prechelt 1998, "Early stopping - but when?")
    """

    patience: int = 5
    min_gain: float = 0.0
    best: float = field(default=-1.0, init=False)
    waited: int = field(default=0, init=False)
    weights: dict[str, torch.Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience is {self.patience}: with less than 1 the first validation would end the training")

    def should_stop(self, accuracy: float, model: nn.Module) -> bool:
        """Record one validation; True when it is time to stop."""
        if accuracy > self.best + self.min_gain:
            self.best, self.waited = accuracy, 0
            self.weights = copy.deepcopy(model.state_dict())
        else:
            self.waited += 1
        return self.waited >= self.patience


def train_mode(model: nn.Module) -> nn.Module:
    """Training mode for what is trained; whatever has only frozen parameters stays in evaluation mode, BatchNorm's statistics too."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()
    return model


def batches(count: int, batch_size: int, steps: int, seed: int) -> list[np.ndarray]:
    """`steps` index arrays of equal size that go through 0 … count-1 in a new order each time round."""
    rng = np.random.default_rng(seed)
    size = min(batch_size, count)
    rounds = -(-steps * size // count)
    order = np.concatenate([rng.permutation(count) for _ in range(rounds)])
    return [order[step * size : (step + 1) * size] for step in range(steps)]


def make_schedule(optimizer: torch.optim.Optimizer, name: str, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """The factor on every group's learning rate over the steps: "one-cycle" (30 % warm-up, then cosine to 0), "cosine",
    "warm-up-cosine" (rises linearly over the first 10 %, then cosine to 0), "constant".

    One-cycle: Smith & Topin 2018, arXiv:1708.07120. Warm-up: Goyal et al. 2017, arXiv:1706.02677. Cosine: Loshchilov & Hutter 2017,
    arXiv:1608.03983. Raises ValueError for another name.
    """
    if name == "one-cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps)
    if name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    if name == "warm-up-cosine":
        warm = max(1, round(WARM_UP * steps))

        def factor(step: int) -> float:
            return (step + 1) / warm if step < warm else (1 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1))) / 2

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    if name == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    raise ValueError(f"no schedule called {name!r}: choose one of {', '.join(SCHEDULES)}")


def cross_entropy(model: nn.Module, batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The usual loss of a classifier: the mean negative log-likelihood of the labels."""
    return F.cross_entropy(model(batch), labels)


def fit(
    model: nn.Module,
    inputs: torch.Tensor,
    labels: np.ndarray | torch.Tensor,
    *,
    steps: int,
    learning_rate: float = 1e-3,
    groups: Sequence[dict] | None = None,
    batch_size: int = 16,
    weight_decay: float = 1e-3,
    schedule: str = "one-cycle",
    augment: Augment | None = None,
    validation: tuple[torch.Tensor, np.ndarray] | None = None,
    validate_every: int = 25,
    early_stopping: EarlyStopping | None = None,
    loss: Loss | None = None,
    seed: int = 0,
) -> History:
    """Train `model` in place with AdamW, on the device where its weights are; leaves it in evaluation mode.

    inputs: (n, …) float. labels: (n,) whole numbers. learning_rate: the peak, for all parameters that are not frozen. groups: instead,
    the optimiser's parameter groups with a rate each (see `helpers.finetuning.parameter_groups`). augment: applied to each batch.
    validation: inputs and labels whose accuracy is recorded every `validate_every` steps; `early_stopping` needs it.
    loss: a function (model, batch, labels) -> scalar instead of the cross-entropy: label smoothing, mixup or a penalty go here.
    Raises ValueError when nothing is trainable, the groups hold a frozen parameter, labels and inputs differ in length, inputs hold NaN,
    the validation data are empty, or the loss becomes NaN.
    """
    device = next(model.parameters()).device
    targets = torch.as_tensor(check_labels(np.asarray(labels), len(inputs)))
    if not torch.isfinite(inputs).all():
        raise ValueError("inputs hold NaN or infinite values: check how they were read and scaled")
    if early_stopping and validation is None:
        raise ValueError("early stopping looks at validation data: pass validation=(inputs, labels) that are not the test set")
    if validation is not None and not len(validation[0]):
        raise ValueError("the validation data are empty: pass at least a few images with their labels")
    trainable = [p for p in model.parameters() if p.requires_grad]
    if groups and any(not p.requires_grad for group in groups for p in group["params"]):
        raise ValueError("the groups hold a frozen parameter: build them again after freezing or unfreezing")
    if not trainable:
        raise ValueError("every parameter is frozen, there is nothing to train: unfreeze the head at least")
    optimizer = torch.optim.AdamW(list(groups) if groups else trainable, lr=learning_rate, weight_decay=weight_decay, fused=True)
    scheduler = make_schedule(optimizer, schedule, steps)
    generator = torch.Generator().manual_seed(seed)
    loss = loss or cross_entropy
    history, began = History(), time.perf_counter()
    train_mode(model)
    for step, index in enumerate(config.progress(batches(len(inputs), batch_size, steps, seed), "fit"), start=1):
        batch = augment(inputs[index], generator) if augment else inputs[index]
        value = loss(model, batch.to(device), targets[index].to(device))
        if not torch.isfinite(value):
            raise ValueError(f"the loss is {value.item()} at step {step}: lower the learning rate, or look for extreme inputs")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.loss.append(value.item())
        history.learning_rate.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
        history.stopped_at = step
        if validation and (step % validate_every == 0 or step == steps):
            history.validation.append((step, accuracy(model, *validation)))
            if early_stopping and early_stopping.should_stop(history.validation[-1][1], model):
                break
            train_mode(model)  # measuring accuracy has switched to evaluation mode
    if early_stopping and early_stopping.weights:
        model.load_state_dict(early_stopping.weights)
    history.seconds = time.perf_counter() - began
    model.eval()
    return history


@torch.no_grad()
def predict(model: nn.Module, inputs: torch.Tensor, batch_size: int = 512) -> np.ndarray:
    """The logits (n, classes) float32, in evaluation mode."""
    device = next(model.parameters()).device
    model.eval()
    return torch.cat([model(part.to(device)).cpu() for part in inputs.split(batch_size)]).numpy()


def accuracy(model: nn.Module, inputs: torch.Tensor, labels: np.ndarray) -> float:
    """The share of `inputs` whose largest logit is their label."""
    return float((predict(model, inputs).argmax(1) == np.asarray(labels)).mean())
