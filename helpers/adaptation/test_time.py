"""Adapting while the images come in: entropy minimisation on BatchNorm's scales and shifts (TENT)."""
from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from helpers.adaptation.information import entropy
from helpers.finetuning import BATCHNORM


class Tent:
    """A copy of `model` that adapts to every batch it predicts (Wang et al. 2021, arXiv:2006.10726).

    BatchNorm normalises each batch with that batch's own statistics, and its scales and shifts take one step towards lower entropy after
    each prediction. With learning_rate 0 only the statistics adapt. Raises ValueError when the model has no BatchNorm layer.
    """

    def __init__(self, model: nn.Module, learning_rate: float = 1e-3):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        layers = [module for module in self.model.modules() if isinstance(module, BATCHNORM)]
        if not layers:
            raise ValueError("the model has no BatchNorm layer: TENT has nothing to adapt")
        for layer in layers:
            layer.train()
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
            layer.requires_grad_(True)
        self.optimizer = torch.optim.Adam([p for layer in layers for p in layer.parameters()], lr=learning_rate)

    def predict(self, batch: Tensor) -> np.ndarray:
        """The classes (n,) of a batch, made before the step that the batch causes. Raises ValueError for fewer than two images."""
        if len(batch) < 2:
            raise ValueError(f"a batch of {len(batch)}: its statistics need two images or more, some dozens are better")
        logits = self.model(batch)
        loss = entropy(logits)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return logits.detach().argmax(1).cpu().numpy()

    def stream(self, images: Tensor, batch_size: int = 64) -> np.ndarray:
        """The classes (n,) of images that come in this order, batch after batch."""
        parts = list(images.split(batch_size))
        if len(parts) > 1 and len(parts[-1]) < 2:  # a last image alone joins the batch before it
            parts[-2:] = [torch.cat(parts[-2:])]
        return np.concatenate([self.predict(part) for part in parts])
