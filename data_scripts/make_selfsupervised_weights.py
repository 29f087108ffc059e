"""Pretrain VICReg's nets of lessons 10 and 11 on unlabelled images and store them with their provenance.

    python data_scripts/make_selfsupervised_weights.py [--steps STEPS] [--to FOLDER]

Two nets for each seed: on that seed's pool of digits alone (half of them, without labels), vicreg_SEED.safetensors, and on rendered
letters, vicreg_letters_SEED.safetensors; and vicreg.json. About half a minute each, on one thread; the same versions on the same machine
give the same bytes.
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
from helpers.data import glyphs
from helpers.data.images import to_tensor

SEEDS = (0, 1, 2)
SOURCES = ("digits", "letters")
STEPS, BATCH_SIZE, LEARNING_RATE = 1000, 128, 3e-3


def pretrain(seed: int, steps: int = STEPS, source: str = "digits") -> tuple[SmallCNN, float]:
    """The net, and the accuracy of a probe with five labels per class on the rest of the pool of digits: the test half is not touched."""
    torch.set_num_threads(1)
    task = few_shot_digits.make_task(5, seed)
    pool = np.sort(np.concatenate([task.train, task.rest]))
    recipe = {"steps": steps, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE, "seed": seed}
    images = task.images[pool] if source == "digits" else to_tensor(glyphs.load_glyphs("letters", per_class=60, seed=1).images)
    model = selfsupervised.train_vicreg(images, **recipe)
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
    wanted = [(source, seed) for source in SOURCES for seed in SEEDS]
    calls = [joblib.delayed(pretrain)(seed, arguments.steps, source) for source, seed in wanted]
    made, nets = joblib.Parallel(n_jobs=min(config.cores(), len(calls)))(calls), {}
    for (source, seed), (model, accuracy) in zip(wanted, made, strict=True):
        weights = save({name: tensor.contiguous() for name, tensor in model.features.state_dict().items()})
        path = arguments.to / selfsupervised.vicreg_file(seed, source)
        path.write_bytes(weights)
        nets[path.name] = {"accuracy_of_a_probe_on_digits": round(accuracy, 4), "sha256": hashlib.sha256(weights).hexdigest()}
        print(f"{path.name}: accuracy {accuracy:.3f}, {len(weights) / 1000:.0f} KB")
    record = {
        "source": "unlabelled handwritten digits of scikit-learn (CC BY 4.0), unlabelled letters rendered from matplotlib's fonts",
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
