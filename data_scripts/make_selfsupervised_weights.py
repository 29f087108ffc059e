"""Pretrain VICReg's nets of lessons 10 and 11 on unlabelled handwritten digits and store them with their provenance.

    python data_scripts/make_selfsupervised_weights.py [--steps STEPS] [--to FOLDER]

One net for each seed, on that seed's pool alone (half of the digits, without labels): vicreg_SEED.safetensors, and vicreg.json. About
half a minute each, on one thread; the same versions on the same machine give the same bytes.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import joblib
import numpy as np
import torch
from safetensors.torch import save
from sklearn.linear_model import LogisticRegression

from helpers import config, few_shot_digits, selfsupervised
from helpers.adaptation.fit import embed
from helpers.backbones.small_cnn import WEIGHTS, SmallCNN

SEEDS = (0, 1, 2)
STEPS, BATCH_SIZE, LEARNING_RATE = 1000, 128, 3e-3


def pretrain(seed: int, steps: int = STEPS) -> tuple[SmallCNN, float]:
    """The net, and the accuracy of a probe with five labels per class on the *rest of its pool*: the test half is not touched."""
    torch.set_num_threads(1)
    task = few_shot_digits.make_task(5, seed)
    pool = np.sort(np.concatenate([task.train, task.rest]))
    recipe = {"steps": steps, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE, "seed": seed}
    model = selfsupervised.train_vicreg(task.images[pool], **recipe)
    vectors = selfsupervised.scaled(embed(model, task.images), pool)
    probe = LogisticRegression(max_iter=500).fit(vectors[task.train], task.labels[task.train])
    return model, probe.score(vectors[task.rest], task.labels[task.rest])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--to", type=Path, default=WEIGHTS, metavar="FOLDER", help="default: helpers/backbones/weights")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    config.start(seed=0)
    made = joblib.Parallel(n_jobs=min(config.cores(), len(SEEDS)))(joblib.delayed(pretrain)(seed, arguments.steps) for seed in SEEDS)
    nets = {}
    for seed, (model, accuracy) in zip(SEEDS, made, strict=True):
        weights = save({name: tensor.contiguous() for name, tensor in model.features.state_dict().items()})
        (arguments.to / f"vicreg_{seed}.safetensors").write_bytes(weights)
        nets[seed] = {"accuracy_at_5_labels_on_the_rest_of_the_pool": round(accuracy, 4), "sha256": hashlib.sha256(weights).hexdigest()}
        print(f"seed {seed}: accuracy {accuracy:.3f}, {len(weights) / 1000:.0f} KB")
    record = {
        "source": "unlabelled handwritten digits of scikit-learn (CC BY 4.0)",
        "script": f"data_scripts/{Path(__file__).name}",
        "steps": arguments.steps,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "versions": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
        "licence": "CC0 1.0",
        "nets": nets,
    }
    (arguments.to / "vicreg.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
