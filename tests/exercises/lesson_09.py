"""Wrong answers that learners give to the exercises of lesson 09, and right ones that differ from the reference."""

SPLIT = (
    "def leave_one_domain_out(domains, fraction, seed):\n    rng, splits = np.random.default_rng(seed), []\n"
    "    for name in np.unique(domains):\n        rest = {pool}\n"
    "        held = round(fraction * len(rest))\n"
    "        splits.append((str(name), rest[held:], rest[:held], np.flatnonzero(domains == name)))\n    return splits"
)
WEIGHTS = "def choose_weights(sources, unlabelled):\n    from helpers.adaptation import several_sources as s\n"

WRONG = {
    "combine": {
        "weights not scaled": "def combine(probabilities, weights):\n    return np.tensordot(weights, probabilities, 1)",
        "weights ignored": "def combine(probabilities, weights):\n    return probabilities.mean(0)",
        "by source only": (
            "def combine(probabilities, weights):\n    return np.average(probabilities, axis=0, weights=weights)"
        ),
        "scaled over the inputs": (
            "def combine(probabilities, weights):\n    w = np.broadcast_to(weights.reshape(len(weights), -1), probabilities.shape[:2])\n"
            "    return np.einsum('kn,knc->nc', w / w.sum(1, keepdims=True), probabilities)"
        ),
        "the heaviest model alone": (
            "def combine(probabilities, weights):\n    return probabilities[np.argmax(weights.reshape(len(weights), -1)[:, 0])]"
        ),
    },
    "leave_one_domain_out": {
        "validation from the domain left out": (
            "def leave_one_domain_out(domains, fraction, seed):\n    rng, splits = np.random.default_rng(seed), []\n"
            "    for name in np.unique(domains):\n        out = rng.permutation(np.flatnonzero(domains == name))\n"
            "        held = round(fraction * len(out))\n"
            "        splits.append((str(name), np.flatnonzero(domains != name), out[:held], out))\n    return splits"
        ),
        "a random split of everything": SPLIT.format(pool="rng.permutation(len(domains))"),
        "not domain by domain": SPLIT.format(pool="rng.permutation(np.flatnonzero(domains != name))"),
        "the first of each, not shuffled": (
            "def leave_one_domain_out(domains, fraction, seed):\n    splits = []\n    for name in np.unique(domains):\n"
            "        train, val = [], []\n        for other in np.unique(domains[domains != name]):\n"
            "            rows = np.flatnonzero(domains == other)\n            held = round(fraction * len(rows))\n"
            "            val += rows[:held].tolist()\n            train += rows[held:].tolist()\n"
            "        splits.append((str(name), train, val, np.flatnonzero(domains == name)))\n    return splits"
        ),
        "only the first domain": SPLIT.format(pool="np.flatnonzero(domains != name)").replace("return splits", "return splits[:1]"),
    },
    "example_weights": {
        "the say, not shared": (
            "def example_weights(sizes, say):\n    w = np.repeat(np.asarray(say, float), sizes)\n    return w / w.mean()"
        ),
        "sums to 1": "def example_weights(sizes, say):\n    return np.repeat(say / np.sum(say) / sizes, sizes)",
        "one for each source": "def example_weights(sizes, say):\n    return say / np.sum(say)",
        "mean 1 only for a say that sums to 1": (
            "def example_weights(sizes, say):\n    return np.repeat(np.asarray(say) / sizes * np.sum(sizes), sizes)"
        ),
    },
    "cross_source_scores": {
        "its own model too": (
            "def cross_source_scores(probabilities, labels):\n"
            "    return (probabilities.mean(0).argmax(2) == labels).mean(1)"
        ),
        "its own model only": (
            "def cross_source_scores(probabilities, labels):\n"
            "    return np.array([(probabilities[j, j].argmax(1) == labels[j]).mean() for j in range(len(labels))])"
        ),
        "models and sources mixed up": (
            "def cross_source_scores(probabilities, labels):\n"
            "    return np.array([(np.delete(probabilities[j], j, 0).mean(0).argmax(1) == labels[j]).mean() for j in range(len(labels))])"
        ),
        "mean accuracy of the others": (
            "def cross_source_scores(probabilities, labels):\n    k = len(labels)\n"
            "    return np.array([np.mean([(probabilities[i, j].argmax(1) == labels[j]).mean() for i in range(k) if i != j])\n"
            "                     for j in range(k)])"
        ),
    },
    "choose_weights": {
        "all alike": "def choose_weights(sources, unlabelled):\n    return {name: 1.0 for name in sources}",
        "by size": "def choose_weights(sources, unlabelled):\n    return {name: len(y) for name, (x, y) in sources.items()}",
        "by similarity of the inputs": (
            f"{WEIGHTS}    return dict(zip(sources, s.softmax_weights(s.similarity_scores(sources, unlabelled), 0.1)))"
        ),
        "the best one only": (
            f"{WEIGHTS}    scores = s.cross_source_scores(s.train_members(sources), sources)\n"
            "    return {name: float(i == scores.argmax()) for i, name in enumerate(sources)}"
        ),
        "by its own accuracy": (
            f"{WEIGHTS}    m = s.train_members(sources)\n"
            "    return dict(zip(sources, s.softmax_weights([m[n].score(*sources[n]) for n in sources], 0.1)))"
        ),
        "a list": "def choose_weights(sources, unlabelled):\n    return [1.0] * len(sources)",
    },
}

RIGHT = {
    "combine": {
        "a loop over the inputs": (
            "def combine(probabilities, weights):\n    rows = []\n    for i in range(probabilities.shape[1]):\n"
            "        w = weights if weights.ndim == 1 else weights[:, i]\n"
            "        rows.append(np.average(probabilities[:, i], axis=0, weights=w))\n    return np.array(rows)"
        ),
    },
    "leave_one_domain_out": {
        "with scikit-learn, as lists": (
            "def leave_one_domain_out(domains, fraction, seed):\n    rng, splits = np.random.default_rng(seed), []\n"
            "    for name in dict.fromkeys(domains.tolist()):\n        train, val = [], []\n"
            "        for other in set(domains.tolist()) - {name}:\n            rows = np.flatnonzero(domains == other)\n"
            "            held = set(rng.choice(rows, round(fraction * len(rows)), replace=False).tolist())\n"
            "            val += sorted(held)\n            train += [r for r in rows.tolist() if r not in held]\n"
            "        splits.append((name, train, val, np.flatnonzero(domains == name).tolist()))\n    return splits"
        ),
    },
    "example_weights": {
        "source by source": (
            "def example_weights(sizes, say):\n    parts = [np.full(n, s / n) for n, s in zip(sizes, say)]\n"
            "    w = np.concatenate(parts)\n    return (w / w.mean()).tolist()"
        ),
    },
    "cross_source_scores": {
        "a mask": (
            "def cross_source_scores(probabilities, labels):\n    k = len(labels)\n"
            "    total = probabilities.sum(0) - probabilities[np.arange(k), np.arange(k)]\n"
            "    return (total.argmax(2) == labels).mean(1).tolist()"
        ),
    },
    "choose_weights": {
        "agreement on the target": (
            f"{WEIGHTS}    answers = s.predict_members(s.train_members(sources), unlabelled)\n"
            "    rest = [np.delete(answers, i, 0).mean(0).argmax(1) for i in range(len(answers))]\n"
            "    scores = [(a.argmax(1) == r).mean() for a, r in zip(answers, rest)]\n"
            "    return dict(zip(sources, s.softmax_weights(scores, 0.15)))"
        ),
        "how well its model reads the others": (
            f"{WEIGHTS}    scores = s.validation_scores(s.train_members(sources), sources)\n"
            "    return dict(zip(sources, s.softmax_weights(scores, 0.1).tolist()))"
        ),
        "drop whom most others cannot read": (
            "def choose_weights(sources, unlabelled):\n    from helpers.adaptation import several_sources as s\n"
            "    m = s.train_members(sources)\n"
            "    read = {n: np.median([m[o].score(*sources[n]) for o in sources if o != n]) for n in sources}\n"
            "    return {n: float(read[n] > np.median(list(read.values())) - 0.25) for n in sources}"
        ),
    },
}
