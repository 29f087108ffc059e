"""Features learned from the target images alone, without any label: a second opinion. (Lesson 10 takes the method apart.)"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import training
from helpers.backbones.small_cnn import SmallCNN
from helpers.data.augment import Augment


def vicreg_loss(first: Tensor, second: Tensor) -> Tensor:
    """Two (n, d) views of the same images: close to each other, each dimension varied, no two dimensions alike.

    (Bardes, Ponce & LeCun 2022, arXiv:2105.04906.)
    """

    def varied(view: Tensor) -> Tensor:
        return F.relu(1 - torch.sqrt(view.var(0) + 1e-4)).mean()

    def alike(view: Tensor) -> Tensor:
        covariance = torch.cov(view.T)
        return (covariance.square().sum() - covariance.diagonal().square().sum()) / view.shape[1]

    return 25 * F.mse_loss(first, second) + 12.5 * (varied(first) + varied(second)) + alike(first) + alike(second)


def train_vicreg(images: Tensor, augment: Augment, steps: int = 400, batch_size: int = 128, seed: int = 0) -> SmallCNN:
    """A new `SmallCNN` whose `features` were trained on the images (n, 1, 8, 8); its classifier is of no use."""
    torch.manual_seed(seed)
    model = SmallCNN(classes=2)
    projector = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128))
    optimizer = torch.optim.AdamW([*model.features.parameters(), *projector.parameters()], lr=3e-3, weight_decay=1e-4)
    scheduler = training.make_schedule(optimizer, "one-cycle", steps)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for index in training.batches(len(images), batch_size, steps, seed):
        views = torch.cat([augment(images[index], generator), augment(images[index], generator)])
        first, second = projector(model.features(views)).chunk(2)
        loss = vicreg_loss(first, second)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return model.eval()
