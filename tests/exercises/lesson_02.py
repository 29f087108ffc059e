"""Wrong answers that learners give to the exercises of lesson 02, and right ones that differ from the reference."""

WRONG = {
    "megabytes": {
        "parameters only, four bytes each": "def megabytes(model):\n    return sum(p.numel() for p in model.parameters()) * 4 / 1e6",
        "parameters only, with their type": (
            "def megabytes(model):\n    return sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6"
        ),
        "everything, four bytes each": "def megabytes(model):\n    return sum(t.numel() for t in model.state_dict().values()) * 4 / 1e6",
        "mebibytes": (
            "def megabytes(model):\n    return sum(t.numel() * t.element_size() for t in model.state_dict().values()) / 2**20"
        ),
        "bytes": "def megabytes(model):\n    return float(sum(t.numel() * t.element_size() for t in model.state_dict().values()))",
    },
    "leep": {
        "only the most probable source class": (
            "def leep(probabilities, labels):\n    hard = np.eye(probabilities.shape[1])[probabilities.argmax(1)]\n"
            "    joint = np.eye(labels.max() + 1)[labels].T @ hard / len(labels)\n"
            "    given = joint / np.maximum(joint.sum(0), 1e-300)\n"
            "    return float(np.log(np.maximum((hard @ given.T)[np.arange(len(labels)), labels], 1e-300)).mean())"
        ),
        "the joint, not the conditional": (
            "def leep(probabilities, labels):\n    joint = np.eye(labels.max() + 1)[labels].T @ probabilities / len(labels)\n"
            "    return float(np.log((probabilities @ joint.T)[np.arange(len(labels)), labels]).mean())"
        ),
        "divides along the wrong axis": (
            "def leep(probabilities, labels):\n    joint = np.eye(labels.max() + 1)[labels].T @ probabilities / len(labels)\n"
            "    given = joint / joint.sum(1, keepdims=True)\n"
            "    return float(np.log((probabilities @ given.T)[np.arange(len(labels)), labels]).mean())"
        ),
        "divides by zero": (
            "def leep(probabilities, labels):\n    joint = np.eye(labels.max() + 1)[labels].T @ probabilities / len(labels)\n"
            "    given = joint / joint.sum(0)\n"
            "    return float(np.log((probabilities @ given.T)[np.arange(len(labels)), labels]).mean())"
        ),
        "the sum instead of the mean": (
            "def leep(probabilities, labels):\n    joint = np.eye(labels.max() + 1)[labels].T @ probabilities / len(labels)\n"
            "    given = joint / np.maximum(joint.sum(0), 1e-300)\n"
            "    return float(np.log((probabilities @ given.T)[np.arange(len(labels)), labels]).sum())"
        ),
    },
    "nearest_class_mean": {
        "the image is in its own mean": (
            "def nearest_class_mean(features, labels):\n    classes = np.unique(labels)\n"
            "    means = np.stack([features[labels == c].mean(0) for c in classes])\n"
            "    distances = ((features[:, None] - means[None]) ** 2).sum(2)\n"
            "    return float((classes[distances.argmin(1)] == labels).mean())"
        ),
        "an index instead of a label": (
            "def nearest_class_mean(features, labels):\n    right = 0\n    for i in range(len(labels)):\n"
            "        others = np.arange(len(labels)) != i\n"
            "        means = np.stack([features[others & (labels == c)].mean(0) for c in np.unique(labels)])\n"
            "        right += ((means - features[i]) ** 2).sum(1).argmin() == labels[i]\n    return right / len(labels)"
        ),
        "the farthest mean": (
            "def nearest_class_mean(features, labels):\n    right, classes = 0, np.unique(labels)\n    for i in range(len(labels)):\n"
            "        others = np.arange(len(labels)) != i\n"
            "        means = np.stack([features[others & (labels == c)].mean(0) for c in classes])\n"
            "        right += classes[((means - features[i]) ** 2).sum(1).argmax()] == labels[i]\n    return right / len(labels)"
        ),
        "the number of right ones": (
            "def nearest_class_mean(features, labels):\n"
            "    return transferability.nearest_class_mean(features, labels) * len(labels)"
        ),
    },
    "hscore_above_chance": {
        "the plain score": (
            "def hscore_above_chance(features, labels, permutations=20, seed=0):\n    return transferability.hscore(features, labels)"
        ),
        "shuffles the labels in place": (
            "def hscore_above_chance(features, labels, permutations=20, seed=0):\n    rng = np.random.default_rng(seed)\n"
            "    score, chance = transferability.hscore(features, labels), []\n    for _ in range(permutations):\n"
            "        rng.shuffle(labels)\n        chance.append(transferability.hscore(features, labels))\n"
            "    return score - np.mean(chance)"
        ),
        "the largest of the permutations": (
            "def hscore_above_chance(features, labels, permutations=20, seed=0):\n    rng = np.random.default_rng(seed)\n"
            "    chance = [transferability.hscore(features, rng.permutation(labels)) for _ in range(permutations)]\n"
            "    return transferability.hscore(features, labels) - max(chance)"
        ),
        "the wrong way round": (
            "def hscore_above_chance(features, labels, permutations=20, seed=0):\n    rng = np.random.default_rng(seed)\n"
            "    chance = [transferability.hscore(features, rng.permutation(labels)) for _ in range(permutations)]\n"
            "    return np.mean(chance) - transferability.hscore(features, labels)"
        ),
        "without the seed": (
            "def hscore_above_chance(features, labels, permutations=20, seed=0):\n    rng = np.random.default_rng()\n"
            "    chance = [transferability.hscore(features, rng.permutation(labels)) for _ in range(permutations)]\n"
            "    return transferability.hscore(features, labels) - np.mean(chance)"
        ),
    },
    "pick_source": {
        "the H-score": (
            "def pick_source(candidates, labels):\n    return max(candidates, key=lambda n: transferability.hscore(candidates[n], labels))"
        ),
        "training accuracy": (
            "def pick_source(candidates, labels):\n    from helpers.features import linear_probe\n"
            "    return max(candidates, key=lambda n: linear_probe(candidates[n], labels).score(candidates[n], labels))"
        ),
        "the widest": "def pick_source(candidates, labels):\n    return max(candidates, key=lambda name: candidates[name].shape[1])",
        "always the same": "def pick_source(candidates, labels):\n    return 'net 0'",
        "an index": "def pick_source(candidates, labels):\n    return 0",
    },
    "choose_under_budget": {
        "ignores the budget": (
            "def choose_under_budget(candidates, labels, budget):\n    def promise(n):\n"
            "        return transferability.logme(transferability.standardise(candidates[n]['features']), labels)\n"
            "    return max(candidates, key=promise)"
        ),
        "the largest that fits": (
            "def choose_under_budget(candidates, labels, budget):\n"
            "    fits = [n for n in candidates if candidates[n]['megabytes'] <= budget]\n"
            "    if not fits:\n        raise ValueError('nothing fits')\n    return max(fits, key=lambda n: candidates[n]['megabytes'])"
        ),
        "strictly below the budget": (
            "def choose_under_budget(candidates, labels, budget):\n"
            "    fits = [n for n in candidates if candidates[n]['megabytes'] < budget]\n"
            "    if not fits:\n        raise ValueError('nothing fits')\n"
            "    return max(fits, key=lambda n: transferability.probe(candidates[n]['features'], labels, 3))"
        ),
        "None when nothing fits": (
            "def choose_under_budget(candidates, labels, budget):\n"
            "    fits = [n for n in candidates if candidates[n]['megabytes'] <= budget]\n"
            "    if not fits:\n        return None\n"
            "    return max(fits, key=lambda n: transferability.probe(candidates[n]['features'], labels, 3))"
        ),
    },
}

RIGHT = {
    "megabytes": {
        "nbytes, parameters and buffers apart": (
            "def megabytes(model):\n    tensors = [*model.parameters(), *model.buffers()]\n    return sum(t.nbytes for t in tensors) / 1e6"
        ),
    },
    "leep": {
        "loops": (
            "def leep(probabilities, labels):\n    n, words = probabilities.shape\n    given = np.zeros((labels.max() + 1, words))\n"
            "    for z in range(words):\n        total = probabilities[:, z].sum()\n        for y in range(labels.max() + 1):\n"
            "            given[y, z] = probabilities[labels == y, z].sum() / total if total else 0\n"
            "    return sum(np.log(given[y] @ row) for y, row in zip(labels, probabilities)) / n"
        ),
    },
    "nearest_class_mean": {
        "scikit-learn": (
            "def nearest_class_mean(features, labels):\n    from sklearn.model_selection import LeaveOneOut, cross_val_score\n"
            "    from sklearn.neighbors import NearestCentroid\n"
            "    return cross_val_score(NearestCentroid(), features, labels, cv=LeaveOneOut()).mean()"
        ),
    },
    "hscore_above_chance": {
        "the helper": (
            "def hscore_above_chance(features, labels, permutations=20, seed=0):\n"
            "    return transferability.above_chance(transferability.hscore, features, labels, permutations, seed)"
        ),
        "shuffles the features instead": (
            "def hscore_above_chance(features, labels, permutations=20, seed=0):\n    rng = np.random.RandomState(seed)\n"
            "    total = 0.0\n    for _ in range(permutations):\n"
            "        total += transferability.hscore(features[rng.permutation(len(features))], labels)\n"
            "    return transferability.hscore(features, labels) - total / permutations"
        ),
    },
    "pick_source": {
        "cross-validated probe": (
            "def pick_source(candidates, labels):\n"
            "    return max(candidates, key=lambda n: transferability.probe(candidates[n], labels, 3))"
        ),
        "nearest class mean": (
            "def pick_source(candidates, labels):\n    def promise(n):\n"
            "        return transferability.nearest_class_mean(transferability.standardise(candidates[n]), labels)\n"
            "    return max(candidates, key=promise)"
        ),
    },
    "choose_under_budget": {
        "sorts by the probe and takes the first that fits": (
            "def choose_under_budget(candidates, labels, budget):\n"
            "    order = sorted(candidates, key=lambda n: -transferability.probe(candidates[n]['features'], labels, 3))\n"
            "    for name in order:\n        if candidates[name]['megabytes'] <= budget:\n            return name\n"
            "    raise ValueError(f'no candidate has {budget} MB or less')"
        ),
    },
}
