"""Wrong answers that learners give to the exercises of lesson 00, and right ones that differ from the reference."""

WRONG = {
    "accuracy": {
        "a count": (
            "def accuracy(predictions, labels):\n    if len(predictions) != len(labels):\n        raise ValueError\n"
            "    return int(np.sum(np.asarray(predictions) == np.asarray(labels)))"
        ),
        "a percentage": (
            "def accuracy(predictions, labels):\n    if len(predictions) != len(labels):\n        raise ValueError\n"
            "    return 100 * float(np.mean(np.asarray(predictions) == np.asarray(labels)))"
        ),
        "lists compared as a whole": "def accuracy(predictions, labels):\n    return float(np.mean(predictions == labels))",
        "broadcasts other lengths": (
            "def accuracy(predictions, labels):\n    return float(np.mean(np.asarray(predictions) == np.asarray(labels)))"
        ),
    },
    "k_shot": {
        "k images in all classes together": (
            "def k_shot(labels, k, seed):\n    n = len(np.unique(labels))\n"
            "    return np.random.default_rng(seed).choice(len(labels), k * n, replace=False)"
        ),
        "always the first k": (
            "def k_shot(labels, k, seed):\n    labels = np.asarray(labels)\n"
            "    return np.concatenate([np.flatnonzero(labels == c)[:k] for c in np.unique(labels)])"
        ),
        "with replacement": (
            "def k_shot(labels, k, seed):\n    labels, rng = np.asarray(labels), np.random.default_rng(seed)\n"
            "    return np.concatenate([rng.choice(np.flatnonzero(labels == c), k) for c in np.unique(labels)])"
        ),
        "ignores the seed": (
            "def k_shot(labels, k, seed):\n    labels, rng = np.asarray(labels), np.random.default_rng()\n"
            "    return np.concatenate([rng.choice(np.flatnonzero(labels == c), k, replace=False) for c in np.unique(labels)])"
        ),
        "takes fewer without a word": (
            "def k_shot(labels, k, seed):\n    labels, rng = np.asarray(labels), np.random.default_rng(seed)\n"
            "    return np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:k] for c in np.unique(labels)])"
        ),
    },
    "paired_difference": {
        "the spread of each method": (
            "def paired_difference(first, second):\n    return float(np.mean(first) - np.mean(second)), "
            "float(np.sqrt(np.var(first, ddof=1) + np.var(second, ddof=1)))"
        ),
        "the sign turned round": (
            "def paired_difference(first, second):\n    d = np.asarray(second) - np.asarray(first)\n    return d.mean(), d.std(ddof=1)"
        ),
        "the population's deviation": (
            "def paired_difference(first, second):\n    d = np.asarray(first) - np.asarray(second)\n    return d.mean(), d.std()"
        ),
    },
    "cheapest": {
        "the mean alone": (
            "def cheapest(curves, target):\n    safe = [(n, m) for m, c in curves.items() for n, v in c.items() if np.mean(v) >= target]\n"
            "    return min(safe)[::-1] if safe else None"
        ),
        "the best accuracy instead of the fewest labels": (
            "def cheapest(curves, target):\n    safe = [(np.mean(v), n, m) for m, c in curves.items() for n, v in c.items()\n"
            "            if np.mean(v) - np.std(v, ddof=1) >= target]\n    return max(safe)[:0:-1] if safe else None"
        ),
        "the population's deviation": (
            "def cheapest(curves, target):\n    safe = [(n, m) for m, c in curves.items() for n, v in c.items()\n"
            "            if np.mean(v) - np.std(v) >= target]\n    return min(safe)[::-1] if safe else None"
        ),
        "an error when nothing reaches it": (
            "def cheapest(curves, target):\n    safe = [(n, m) for m, c in curves.items() for n, v in c.items()\n"
            "            if np.mean(v) - np.std(v, ddof=1) >= target]\n    return min(safe)[::-1]"
        ),
    },
}

RIGHT = {
    "accuracy": {
        "a loop": (
            "def accuracy(predictions, labels):\n    if len(labels) != len(predictions):\n        raise ValueError('lengths differ')\n"
            "    return sum(int(a == b) for a, b in zip(predictions, labels)) / len(labels)"
        ),
    },
    "k_shot": {
        "a permutation, as a list": (
            "def k_shot(labels, k, seed):\n    rng, out, labels = np.random.default_rng(seed), [], np.asarray(labels)\n"
            "    for c in sorted(set(labels.tolist())):\n        members = rng.permutation(np.where(labels == c)[0])\n"
            "        if k > len(members):\n            raise ValueError('too few')\n        out += members[:k].tolist()\n    return out"
        ),
    },
    "paired_difference": {
        "the statistics module": (
            "def paired_difference(first, second):\n    import statistics\n    d = [a - b for a, b in zip(first, second)]\n"
            "    return statistics.mean(d), statistics.stdev(d)"
        ),
    },
    "cheapest": {
        "a loop over the numbers of labels": (
            "def cheapest(curves, target):\n    for n in sorted({n for c in curves.values() for n in c}):\n"
            "        for m, c in curves.items():\n            v = np.array(c.get(n, [-1, -1]))\n"
            "            if v.mean() - v.std(ddof=1) >= target:\n                return [m, n]\n    return None"
        ),
    },
}
