"""LoRA: leave a linear layer as it is, and learn a low-rank correction beside it, which can be stored alone or merged.

(Hu et al. 2022, arXiv:2106.09685.)
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


class LoRALinear(nn.Module):
    """y = base(x) + scale · B (A x), scale = alpha / rank: `base` is frozen, `down` (A) and `up` (B) are trained.

    base: a linear layer from k to d numbers. down: (rank, k), random; up: (d, rank), zeros, so at first nothing changes. rank · (d + k)
    parameters are trained instead of d · k. Raises ValueError when base is no nn.Linear or rank is not in 1 to min(d, k).
    """

    def __init__(self, base: nn.Linear, rank: int = 8, alpha: float = 16.0):
        super().__init__()
        if not isinstance(base, nn.Linear):
            raise ValueError(f"the layer is a {type(base).__name__}, not a linear one: LoRA corrects a matrix, name nn.Linear layers")
        if not 1 <= rank <= min(base.in_features, base.out_features):
            most = min(base.in_features, base.out_features)
            raise ValueError(f"rank is {rank}: choose 1 to {most}; with more, the correction has more parameters than it needs")
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as nn.Linear begins

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.scale * F.linear(F.linear(x, self.down), self.up)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain linear layer that computes the same: weight + scale · up @ down, the old bias. This layer is left as it is."""
        linear = nn.Linear(self.base.in_features, self.base.out_features, self.base.bias is not None)
        linear = linear.to(self.base.weight)
        linear.weight.copy_(self.base.weight + self.scale * self.up @ self.down)
        if self.base.bias is not None:
            linear.bias.copy_(self.base.bias)
        return linear


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


def add_lora(model: nn.Module, targets: Sequence[str] = ("query", "value"), rank: int = 8, alpha: float = 16.0) -> nn.Module:
    """Freeze `model` and put a `LoRALinear` in the place of every linear layer whose name ends with one of `targets`; in place.

    Query and value of the attention are the original choice. Unfreeze the classifier afterwards.
    Raises ValueError when nothing has such a name, or as `LoRALinear` does.
    """
    targets = [targets] if isinstance(targets, str) else list(targets)
    found = {name: part for name, part in model.named_modules() if name.rpartition(".")[2] in targets}
    missing = [target for target in targets if not any(name.rpartition(".")[2] == target for name in found)]
    if missing or not found:
        linear = sorted({name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)})
        raise ValueError(f"no part is called {', '.join(missing) or 'nothing'}: the linear layers are called {', '.join(linear)}")
    layers = {name: LoRALinear(part, rank, alpha) for name, part in found.items()}
    model.requires_grad_(False)
    for name, layer in layers.items():
        layer.down.requires_grad_(True)
        layer.up.requires_grad_(True)
        _replace(model, name, layer)
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Replace every `LoRALinear` by the plain layer that computes the same, in place: no cost when it is used, no way back.

    Raises ValueError when there is none.
    """
    found = {name: part for name, part in model.named_modules() if isinstance(part, LoRALinear)}
    if not found:
        raise ValueError("the model has no LoRA layer: it was never added, or is merged already")
    for name, part in found.items():
        _replace(model, name, part.merged())
    return model


def adapter(model: nn.Module) -> dict[str, torch.Tensor]:
    """What has to be stored of a model with LoRA: the corrections and all else that is trained (the classifier), by name."""
    return {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}


def save_adapter(model: nn.Module, file: Path) -> int:
    """Store `adapter(model)` as safetensors; returns the file's size in bytes. Raises ValueError when nothing is trainable."""
    from safetensors.torch import save_file

    tensors = adapter(model)
    if not tensors:
        raise ValueError("nothing is trainable, so there is nothing to store: add LoRA first, and store before merging")
    save_file(tensors, file)
    return Path(file).stat().st_size


def load_adapter(model: nn.Module, file: Path) -> nn.Module:
    """Put a stored adapter into a model with the same LoRA layers, in place. Raises ValueError when names or shapes differ."""
    from safetensors.torch import load_file

    stored, own = load_file(file), adapter(model)
    if stored.keys() != own.keys() or any(stored[name].shape != own[name].shape for name in own):
        odd = sorted(stored.keys() ^ own.keys()) or [name for name in own if stored[name].shape != own[name].shape]
        raise ValueError(f"the adapter does not fit, for example {odd[0]}: add LoRA with the same targets, rank and classifier first")
    model.load_state_dict(stored, strict=False)
    return model
