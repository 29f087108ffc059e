"""Fine-tune the net that was pretrained on letters on handwritten digits: one script for one process, several, one GPU or several.

    python data_scripts/train_distributed.py --to one.safetensors
    accelerate launch --multi_gpu --num_processes 2 data_scripts/train_distributed.py --to two.safetensors

The second command uses two GPUs where there are two, and two CPU processes with COURSE_DEVICE=cpu or where there is no GPU (its flag
`--multi_gpu` only says "start several processes"; `--cpu --num_processes 2` would start one).
Whatever the number of processes, each step sees the same images: a batch is shared out among the processes, and their gradients
are averaged. --data FILE brings other data than scikit-learn's digits: a .safetensors file with images (n, 1, 8, 8) float32 in 0-1,
labels, test_images and test_labels. The file that --to names gets the weights, and in its metadata the loss of every step, the
accuracy, the number of processes and the device.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, TensorDataset

from helpers import config, finetuning
from helpers.backbones.small_cnn import load_small_cnn

LEARNING_RATE, MOMENTUM = 0.003, 0.9


def start() -> Accelerator:
    """The processes of this run. Ends it with a sentence when they do not work together."""
    sharing = DataLoaderConfiguration(split_batches=True, use_seedable_sampler=True)  # each batch is divided, not multiplied
    accelerator = Accelerator(cpu=config.device() == "cpu", dataloader_config=sharing)
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if accelerator.num_processes != launched:
        # Otherwise each would train alone, on the same images, and none would say so.
        sys.exit(f"{launched} processes were started and do not see each other: set COURSE_DEVICE=cpu to run them on the CPU")
    return accelerator


def digits() -> dict[str, torch.Tensor]:
    """One half of scikit-learn's digits to train on, the other half to test on, as --data would hold them."""
    from helpers.data.digits import load_digits
    from helpers.data.images import to_tensor
    from helpers.data.splits import stratified_half

    found = load_digits()
    images, labels = to_tensor(found.images), torch.from_numpy(found.labels)
    train, test = map(torch.from_numpy, stratified_half(found.labels, seed=0))
    return {"images": images[train], "labels": labels[train], "test_images": images[test], "test_labels": labels[test]}


def loaders(data: dict[str, torch.Tensor], batch_size: int) -> tuple[DataLoader, DataLoader]:
    """Batches to train on, in an order that the seed decides, and batches to test on."""
    train, test = TensorDataset(data["images"], data["labels"]), TensorDataset(data["test_images"], data["test_labels"])
    return DataLoader(train, batch_size, shuffle=True, drop_last=True), DataLoader(test, 256)


def train(
    accelerator: Accelerator, data: dict[str, torch.Tensor], steps: int, batch_size: int, batch_norm: str
) -> tuple[torch.nn.Module, dict[str, object]]:
    """The trained net without its wrapper, and the record of the run."""
    config.seed_all(0)
    model = finetuning.replace_classifier(load_small_cnn("letters"), int(data["labels"].max()) + 1)
    if batch_norm == "frozen":
        finetuning.freeze_batchnorm(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=LEARNING_RATE, momentum=MOMENTUM)
    batches, tests = loaders(data, batch_size)
    model, optimizer, batches, tests = accelerator.prepare(model, optimizer, batches, tests)
    losses, epoch = [], 0
    while len(losses) < steps:
        batches.set_epoch(epoch)
        for images, labels in batches:
            if len(losses) == steps:
                break
            train_mode(model, batch_norm)
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            accelerator.backward(loss)  # averages the gradients over the processes
            optimizer.step()
            losses.append(accelerator.reduce(loss.detach(), "mean").item())
        epoch += 1
    about = {"losses": losses, "accuracy": accuracy(accelerator, model, tests), "processes": accelerator.num_processes,
             "device": accelerator.device.type, "images a process": batch_size // accelerator.num_processes}
    return accelerator.unwrap_model(model), about


def train_mode(model: torch.nn.Module, batch_norm: str) -> None:
    """Training mode; frozen BatchNorm layers keep their statistics. Live ones use those of their own process's share of the batch."""
    model.train()
    for part in model.modules() if batch_norm == "frozen" else ():
        if isinstance(part, finetuning.BATCHNORM):
            part.eval()


@torch.no_grad()
def accuracy(accelerator: Accelerator, model: torch.nn.Module, tests: DataLoader) -> float:
    """The share of test images that are right, counted over all processes."""
    model.eval()
    right = [accelerator.gather_for_metrics(model(images).argmax(1) == labels) for images, labels in tests]
    return torch.cat(right).float().mean().item()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")
    parser.add_argument("--data", type=Path, metavar="FILE", help="default: scikit-learn's digits")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64, help="images a step, over all processes together")
    parser.add_argument("--batch-norm", choices=("frozen", "live"), default="frozen")
    options = parser.parse_args()
    torch.set_num_threads(1)
    accelerator = start()
    data = load_file(options.data) if options.data else digits()
    if options.steps < 1 or not 1 <= options.batch_size <= len(data["labels"]) or options.batch_size % accelerator.num_processes:
        sys.exit(f"steps {options.steps}, batch size {options.batch_size}: use 1 or more steps, and a batch size up to the "
                 f"{len(data['labels'])} images that the {accelerator.num_processes} processes can share equally")
    model, about = train(accelerator, data, options.steps, options.batch_size, options.batch_norm)
    if accelerator.is_main_process:
        half_written = options.to.with_suffix(".part")
        weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, half_written, metadata={"run": json.dumps(about)})
        os.replace(half_written, options.to)
        print(f"{about['processes']} x {about['device']}: loss {about['losses'][0]:.4f} -> {about['losses'][-1]:.4f}, "
              f"accuracy {about['accuracy']:.4f} -> {options.to.name}")
    accelerator.end_training()
    return 0


if __name__ == "__main__":
    sys.exit(main())
