"""Pretrain the small CNN on each source of lesson 01 and store its weights with their provenance.

    python data_scripts/make_small_cnn_weights.py [SOURCE ...] [--to FOLDER]

Sources: noise, shuffled_letters, letters, font_digits (all without arguments), about 5 s each. It runs on one thread and writes
SOURCE.safetensors and SOURCE.json; the same versions on the same machine give the same bytes.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from helpers import config, training
from helpers.backbones.small_cnn import SOURCES, WEIGHTS, SmallCNN
from helpers.data import augment, glyphs
from helpers.data.images import to_tensor

STEPS, BATCH_SIZE, LEARNING_RATE, SEED = 300, 64, 3e-3, 0
IMAGES = 5200  # of each source: amount is not what makes the sources differ


def source_data(source: str, seed: int = SEED) -> tuple[torch.Tensor, np.ndarray]:
    """Images (5200, 1, 8, 8) and labels. Raises ValueError for an unknown source."""
    if source not in SOURCES:
        raise ValueError(f"no source called {source!r}: choose one of {', '.join(SOURCES)}")
    kind = "digits" if source == "font_digits" else "letters"
    data = glyphs.load_glyphs(kind, IMAGES // len(glyphs.CHARACTERS[kind]), seed)
    images, labels = to_tensor(data.images), data.labels
    if source == "noise":
        images = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
    if source in ("noise", "shuffled_letters"):
        labels = np.random.default_rng(seed).permutation(labels)
    return images, labels


def pretrain(source: str) -> tuple[SmallCNN, float]:
    """The trained net and its accuracy on new images of its own source (chance, by design, where the labels are random)."""
    images, labels = source_data(source)
    torch.manual_seed(SEED)
    model = SmallCNN(int(labels.max()) + 1)
    change = augment.jitter(rotation=0.2, shear=0.2, scale=0.12, shift=0.15)
    training.fit(
        model, images, labels, steps=STEPS, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE, weight_decay=1e-4, augment=change, seed=SEED
    )
    return model, training.accuracy(model, *source_data(source, seed=SEED + 1))


def write(source: str, folder: Path) -> dict:
    """Pretrain, store both files in `folder`, return the provenance."""
    model, accuracy = pretrain(source)
    weights = save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    record = {
        "source": source,
        "script": f"data_scripts/{Path(__file__).name}",
        "seed": SEED,
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "classes": model.classifier.out_features,
        "accuracy_on_new_images_of_the_source": round(accuracy, 4),
        "versions": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
        "licence": "CC0 1.0",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    (folder / f"{source}.safetensors").write_bytes(weights)
    (folder / f"{source}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--to", type=Path, default=WEIGHTS, metavar="FOLDER", help="default: helpers/backbones/weights")
    arguments = parser.parse_args()
    if unknown := set(arguments.sources) - set(SOURCES):
        parser.error(f"no source called {', '.join(sorted(unknown))}: choose of {', '.join(SOURCES)}")
    arguments.to.mkdir(parents=True, exist_ok=True)
    config.start(seed=SEED)
    for source in arguments.sources or SOURCES:
        record = write(source, arguments.to)
        accuracy = record["accuracy_on_new_images_of_the_source"]
        print(f"{source}: {record['classes']} classes, accuracy {accuracy}, sha256 {record['sha256'][:8]}…")
    return 0


if __name__ == "__main__":
    sys.exit(main())
