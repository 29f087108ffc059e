"""skada and pytorch-adapt on the benchmark of lesson 08: the same net, images, augmentation, optimiser, schedule and number of steps.

Each is measured with its defaults, and with the settings of the method's paper and the weight that our label-free score picked for our
own version ("tuned"). Two things to know about skada 0.6.0: its default domain classifier ends in a softmax over one number, which is
always 1, so DANN and CDAN train nothing beyond the source's loss until they are given another one (an argument of both); and its
`batch_size` counts the images of one domain. Not needed by the lesson:

    pip install skada==0.6.0 skorch==1.4.0 pytorch-adapt==0.0.83
"""
from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from helpers import training
from helpers.adaptation import benchmark
from helpers.adaptation.adversarial import domain_classifier, reverse_gradient
from helpers.backbones.small_cnn import SmallCNN

# name: (library, method, options, reversal of the domain classifier of our own, None: the library's)
PEERS: dict[str, tuple[str, str, dict[str, Any], float | None]] = {
    "skada DeepCoral, defaults": ("skada", "DeepCoral", {}, None),
    "skada DANN, defaults": ("skada", "DANN", {}, None),
    "skada DANN, another classifier, reversal 0.3": ("skada", "DANN", {}, 0.3),
    "skada CDAN, defaults": ("skada", "CDAN", {}, None),
    "skada CDAN, another classifier, reversal 0.1": ("skada", "CDAN", {}, 0.1),
    "skada DeepJDOT, defaults": ("skada", "DeepJDOT", {}, None),
    "skada DeepJDOT, weights 0.001 and 0.1": ("skada", "DeepJDOT", {"reg_dist": 0.001, "reg_cl": 0.1}, None),
    "skada MCC, defaults": ("skada", "MCC", {}, None),
    "skada MCC, temperature 2.5, weight 3": ("skada", "MCC", {"T": 2.5, "reg": 3.0}, None),
    "pytorch-adapt DANN, defaults": ("pytorch-adapt", "DANN", {}, None),
    "pytorch-adapt DANN, reversal 0.3": ("pytorch-adapt", "DANN", {"gradient_reversal_weight": 0.3}, None),
    "pytorch-adapt MCC, defaults": ("pytorch-adapt", "MCC", {"T": 1.0, "weight": 1.0}, None),
    "pytorch-adapt MCC, temperature 2.5, weight 3": ("pytorch-adapt", "MCC", {"T": 2.5, "weight": 3.0}, None),
}


class Augmenting(nn.Module):
    """Our net, which augments its images itself while it trains: so a library's own loop trains on what ours trains on."""

    def __init__(self, net: SmallCNN, seed: int):
        super().__init__()
        self.features, self.classifier = net.features, net.classifier
        self.seed, self.generator = seed, None

    def change(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        if self.generator is None:
            self.generator = torch.Generator().manual_seed(self.seed)
        return benchmark.WILD(images, self.generator)

    def forward(self, images: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return self.classifier(self.features(self.change(images)))

    def __deepcopy__(self, memory: dict) -> Augmenting:
        net = SmallCNN(10)
        net.load_state_dict(SmallCNN.state_dict(self))
        return Augmenting(net, self.seed)


class Critic(nn.Module):
    """Our domain classifier in skada's form: it reverses the gradient itself and returns one logit for each image."""

    def __init__(self, inputs: int, reversal: float):
        super().__init__()
        self.layers, self.reversal = domain_classifier(inputs), reversal

    def forward(self, features: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return self.layers(reverse_gradient(features, self.reversal)).squeeze(1)


def by_skada(method: str, options: dict[str, Any], reversal: float | None, task: benchmark.Task, seed: int, steps: int) -> nn.Module:
    import skada.deep
    from skorch.callbacks import LRScheduler

    torch.manual_seed(seed)
    net = Augmenting(benchmark.new_net(seed), seed)
    if method in ("DANN", "CDAN"):
        options = {"num_features": 64, **options, **({"n_classes": 10} if method == "CDAN" else {})}
        if reversal is not None:
            critic = Critic(64 * (10 if method == "CDAN" else 1), reversal)
            options |= {"domain_classifier": critic, "domain_criterion": nn.BCEWithLogitsLoss()}
    # An epoch of skada's loader: the larger domain's images in whole batches, and as many of the other domain.
    per_epoch = max(len(task.source), len(task.pool)) // benchmark.BATCH
    epochs = max(1, round(steps / per_epoch))
    schedule = LRScheduler(torch.optim.lr_scheduler.OneCycleLR, max_lr=3e-3, total_steps=epochs * per_epoch + 1, step_every="batch")
    model = getattr(skada.deep, method)(
        net, layer_name="features", batch_size=benchmark.BATCH, max_epochs=epochs, optimizer=torch.optim.AdamW, lr=3e-3,
        optimizer__weight_decay=1e-3, train_split=None, verbose=0, callbacks=[("schedule", schedule)], **options,
    )  # fmt: skip
    labels = np.r_[task.labels, np.full(len(task.pool), -1)]  # -1: skada's mark for "no label"
    domain = np.r_[np.ones(len(task.source)), -2 * np.ones(len(task.pool))].astype(int)
    model.fit({"X": torch.cat([task.source, task.pool]).numpy(), "sample_domain": domain}, labels)
    taken = sum(len(epoch["batches"]) for epoch in model.history)
    if taken != epochs * per_epoch:
        raise RuntimeError(f"skada took {taken} steps, {epochs * per_epoch} were expected: the comparison would not be fair")
    return model.module_.base_module_.eval()


def by_pytorch_adapt(method: str, options: dict[str, Any], task: benchmark.Task, seed: int, steps: int) -> nn.Module:
    from pytorch_adapt import hooks
    from pytorch_adapt.layers import MCCLoss
    from pytorch_adapt.models import Discriminator
    from pytorch_adapt.weighters import SumWeighter

    net = benchmark.new_net(seed)
    models = {"G": net.features, "C": net.classifier}
    if method == "DANN":
        models["D"] = Discriminator(in_size=64, h=128)
    optimizer = torch.optim.AdamW([p for model in models.values() for p in model.parameters()], lr=3e-3, weight_decay=1e-3)
    schedule = training.make_schedule(optimizer, "one-cycle", steps)
    if method == "DANN":
        hook = hooks.DANNHook([optimizer], **options)
    else:
        weighter = SumWeighter(weights={"mcc_loss": options["weight"]}) if options["weight"] != 1 else None
        hook = hooks.ClassifierHook([optimizer], post=[hooks.MCCHook(loss_fn=MCCLoss(T=options["T"]))], weighter=weighter)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.as_tensor(task.labels)
    orders = [training.batches(len(images), benchmark.BATCH, steps, seed + i) for i, images in enumerate((task.source, task.pool))]
    net.train()
    for i, j in zip(*orders, strict=True):
        data = {"src_imgs": benchmark.WILD(task.source[i], generator), "target_imgs": benchmark.WILD(task.pool[j], generator)}
        data |= {"src_labels": labels[i], "src_domain": torch.zeros(len(i)), "target_domain": torch.ones(len(j))}
        hook({**models, **data})
        schedule.step()
    return net.eval()


def measure(name: str, seed: int, steps: int = benchmark.STEPS) -> list[dict]:
    """A row for the benchmark."""
    library, method, options, reversal = PEERS[name]
    task, began = benchmark.make_task(seed), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if library == "skada":
            net = by_skada(method, options, reversal, task, seed, steps)
        else:
            net = by_pytorch_adapt(method, options, task, seed, steps)
    accuracy = round(training.accuracy(net, task.test, task.test_labels), 4)
    return [{"method": name, "seed": seed, "accuracy": accuracy, "seconds": round(time.process_time() - began, 1)}]
