"""Answers to the exercises of lesson 22: plausible wrong ones, and other right ones."""
from __future__ import annotations

LEAKED = "def leaked(train, test, train_groups, test_groups, alike):\n"
UNIT = (
    "    def unit(x):\n        x = np.asarray(x, float)\n        x = x - x.mean(1, keepdims=True)\n"
    "        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)\n"
)
SPLIT = "def split_groups(labels, groups, share, seed):\n"
BASE = "def baselines(rows, labels, groups):\n    from sklearn.metrics import balanced_accuracy_score\n"
PREDICT = (
    "    from sklearn.model_selection import cross_val_predict, GroupKFold, StratifiedKFold\n"
    "    probe = features.linear_probe(rows, labels)\n"
)
INTERVAL = "def interval(correct, groups):\n    from scipy import stats\n    correct = np.asarray(correct, float)\n    p = correct.mean()\n"
BOOTSTRAP = (
    "    rng, names = np.random.default_rng(0), np.unique(groups)\n"
    "    sums = np.array([correct[groups == g].sum() for g in names])\n    sizes = np.array([(groups == g).sum() for g in names])\n"
    "    draws = rng.integers(0, len(names), (800, len(names)))\n    means = sums[draws].sum(1) / sizes[draws].sum(1)\n"
)
PROJECT = "def project(candidates, labels, groups, new):\n    from sklearn.model_selection import GroupKFold, KFold, cross_val_predict\n"
KEYS = (
    "    key = lambda part: [row.tobytes() for row in np.hstack([part[name] for name in candidates])]\n"
    "    known, fresh = key(candidates), key(new)\n    leaked = [i for i, row in enumerate(fresh) if row in set(known)]\n"
    "    said = {}\n    for row, label in zip(known, labels):\n        said.setdefault(row, set()).add(int(label))\n"
    "    wrong = [i for i, row in enumerate(known) if len(said[row]) > 1]\n"
    "    keep = np.array([i for i in range(len(labels)) if i not in wrong])\n"
)
FOLDS = (
    "    fold = lambda name, cv=GroupKFold(6): cross_val_predict(features.linear_probe(candidates[name][keep], labels[keep], 0.01),\n"
    "        candidates[name][keep], labels[keep], groups=groups[keep], cv=cv) == labels[keep]\n"
)
RESULT = (
    "    best = max(candidates, key=lambda name: fold(name).mean())\n"
    "    told = features.linear_probe(candidates[best][keep], labels[keep], 0.01).predict(new[best])\n"
    "    mean = fold(best).mean()\n"
    "    found = dict(predictions=told, leaked=leaked, contradictions=wrong, baseline=fold('raw').mean(),\n"
    "                 expected=(max(0, mean - 0.17), min(1, mean + 0.15)))\n"
)

WRONG = {
    "leaked": {
        "groups only": LEAKED + "    return np.flatnonzero(np.isin(test_groups, train_groups))",
        "copies only": LEAKED + UNIT + "    return np.flatnonzero((unit(test) @ unit(train).T >= alike).any(1))",
        "exact copies only": LEAKED + (
            "    same = (test[:, None] == train[None]).all(2).any(1)\n    return np.flatnonzero(same | np.isin(test_groups, train_groups))"
        ),
        "cosine without subtracting the mean": LEAKED + (
            "    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)\n"
            "    return np.flatnonzero((unit(test) @ unit(train).T >= alike).any(1) | np.isin(test_groups, train_groups))"
        ),
        "negatives count too": LEAKED + UNIT + (
            "    return np.flatnonzero((abs(unit(test) @ unit(train).T) >= alike).any(1) | np.isin(test_groups, train_groups))"
        ),
        "places in train": LEAKED + UNIT + (
            "    return np.flatnonzero((unit(train) @ unit(test).T >= alike).any(1) | np.isin(train_groups, test_groups))"
        ),
        "a mask": LEAKED + UNIT + "    return (unit(test) @ unit(train).T >= alike).any(1) | np.isin(test_groups, train_groups)",
        "both lists joined": LEAKED + UNIT + (
            "    copies = np.flatnonzero((unit(test) @ unit(train).T >= alike).any(1))\n"
            "    return np.sort(np.concatenate([copies, np.flatnonzero(np.isin(test_groups, train_groups))]))"
        ),
    },
    "split_groups": {
        "random items": SPLIT + "    return np.random.default_rng(seed).random(len(labels)) < share",
        "groups without the classes": SPLIT + (
            "    rng, names = np.random.default_rng(seed), np.unique(groups)\n"
            "    return np.isin(groups, rng.permutation(names)[: round(share * len(names))])"
        ),
        "stratified items": SPLIT + (
            "    from sklearn.model_selection import train_test_split\n"
            "    test = train_test_split(np.arange(len(labels)), test_size=share, random_state=seed, stratify=labels)[1]\n"
            "    return np.isin(np.arange(len(labels)), test)"
        ),
        "the seed is not used": SPLIT + (
            "    rng, names, best = np.random.default_rng(0), np.unique(groups), None\n    for _ in range(500):\n"
            "        test = np.isin(groups, rng.permutation(names)[: rng.integers(1, len(names))])\n"
            "        both = set(labels[test]) == set(labels[~test])\n"
            "        if both and (best is None or abs(test.mean() - share) < abs(best.mean() - share)):\n            best = test\n"
            "    return best"
        ),
        "another split each time": SPLIT + (
            "    rng, names, best = np.random.default_rng(), np.unique(groups), None\n    for _ in range(500):\n"
            "        test = np.isin(groups, rng.permutation(names)[: rng.integers(1, len(names))])\n"
            "        both = set(labels[test]) == set(labels[~test])\n"
            "        if both and (best is None or abs(test.mean() - share) < abs(best.mean() - share)):\n            best = test\n"
            "    return best"
        ),
        "one group only": SPLIT + "    return groups == np.random.default_rng(seed).choice(groups)",
        "indices": SPLIT + (
            "    rng, names = np.random.default_rng(seed), np.unique(groups)\n"
            "    return np.flatnonzero(np.isin(groups, rng.permutation(names)[: round(share * len(names))]))"
        ),
    },
    "baselines": {
        "plain accuracy": BASE + PREDICT + (
            "    p = cross_val_predict(probe, rows, labels, groups=groups, cv=GroupKFold(4))\n"
            "    return {'always': np.bincount(labels).max() / len(labels), 'simple': (p == labels).mean()}"
        ),
        "random folds": BASE + PREDICT + (
            "    p = cross_val_predict(probe, rows, labels, cv=StratifiedKFold(4, shuffle=True, random_state=0))\n"
            "    return {'always': 1 / len(np.unique(labels)), 'simple': balanced_accuracy_score(labels, p)}"
        ),
        "on the training data": BASE + PREDICT + (
            "    return {'always': 1 / len(np.unique(labels)), 'simple': balanced_accuracy_score(labels, probe.predict(rows))}"
        ),
        "always three classes": BASE + PREDICT + (
            "    p = cross_val_predict(probe, rows, labels, groups=groups, cv=GroupKFold(4))\n"
            "    return {'always': 1 / 3, 'simple': balanced_accuracy_score(labels, p)}"
        ),
        "no training at all": BASE + "    return {'always': 1 / len(np.unique(labels)), 'simple': 1 / len(np.unique(labels))}",
    },
    "interval": {
        "items alone": INTERVAL + "    h = 1.96 * np.sqrt(p * (1 - p) / len(correct))\n    return max(0, p - h), min(1, p + h)",
        "Wilson without groups": INTERVAL + (
            "    n, t = len(correct), 1.96\n    m = (p + t**2 / (2 * n)) / (1 + t**2 / n)\n"
            "    h = t / (1 + t**2 / n) * np.sqrt(p * (1 - p) / n + t**2 / (4 * n**2))\n    return m - h, m + h"
        ),
        "the whole range": "def interval(correct, groups):\n    return 0.0, 1.0",
        "half a point": INTERVAL + "    return max(0, p - 0.25), min(1, p + 0.25)",
        "bootstrap of items": INTERVAL + (
            "    rng = np.random.default_rng(0)\n    means = rng.choice(correct, (500, len(correct))).mean(1)\n"
            "    return tuple(np.quantile(means, [0.025, 0.975]))"
        ),
        "bootstrap of groups, one to one when all is right": INTERVAL + BOOTSTRAP + (
            "    low, high = np.quantile(means, [0.025, 0.975])\n    return min(low, p), max(high, p)"
        ),
        "one correlation for all data": INTERVAL + (
            "    n, k, t = len(correct), len(np.unique(groups)), 2.05\n    n = n / (1 + (n / k - 1) * 0.22)\n"
            "    m = (p + t**2 / (2 * n)) / (1 + t**2 / n)\n"
            "    h = t / (1 + t**2 / n) * np.sqrt(p * (1 - p) / n + t**2 / (4 * n**2))\n    return m - h, m + h"
        ),
        "the mean of what it was asked before": "seen = []\n" + INTERVAL + (
            "    seen.append(p)\n    m = np.mean(seen) if 0 < p < 1 else p\n"
            "    return max(0.0, min(p, m - 0.06)), min(1.0, max(p, m + 0.06))"
        ),
        "one standard error": INTERVAL + (
            "    m = np.array([correct[groups == g].mean() for g in np.unique(groups)])\n"
            "    h = max(0.02, m.std(ddof=1) / np.sqrt(len(m)))\n    return max(0, p - h), min(1, p + h)"
        ),
        "the spread of the groups": INTERVAL + (
            "    m = np.array([correct[groups == g].mean() for g in np.unique(groups)])\n"
            "    h = max(0.02, 1.96 * m.std(ddof=1))\n    return max(0, p - h), min(1, p + h)"
        ),
    },
    "project": {
        "random folds": (
            PROJECT + KEYS + FOLDS.replace("GroupKFold(6)", "KFold(6, shuffle=True, random_state=0)") + RESULT + "    return found"
        ),
        "judged on the training data": PROJECT + KEYS + (
            "    fold = lambda name: features.linear_probe(candidates[name][keep], labels[keep], 0.01).predict(candidates[name][keep]) "
            "== labels[keep]\n"
        ) + RESULT.replace("max(candidates", "max(sorted(candidates, reverse=True)") + "    return found",
        "looks for the draw in the notebook": (
            "def project(candidates, labels, groups, new):\n    for seed in range(50):\n        _, said, _, _, truth = draw(seed)\n"
            "        if np.array_equal(said, labels):\n            break\n"
            "    return dict(predictions=truth['labels'], leaked=truth['leaked'], contradictions=truth['contradictions'], baseline=0.85,\n"
            "                expected=(0.7, 1.0))"
        ),
        "no copies found": PROJECT + KEYS + FOLDS + RESULT + "    found['leaked'] = []\n    return found",
        "contradictions kept": PROJECT + KEYS + "    wrong, keep = [], np.arange(len(labels))\n" + FOLDS + RESULT + "    return found",
        "only the second of each pair": PROJECT + KEYS + FOLDS + RESULT + (
            "    found['contradictions'] = [i for i in wrong if known.index(known[i]) != i]\n    return found"
        ),
        "no baseline": PROJECT + KEYS + FOLDS + RESULT + "    found['baseline'] = 0.1\n    return found",
        "the baseline is the best": PROJECT + KEYS + FOLDS + RESULT + "    found['baseline'] = 1.0\n    return found",
        "too sure": PROJECT + KEYS + FOLDS + RESULT + "    found['expected'] = (0.995, 1.0)\n    return found",
        "says nothing": PROJECT + KEYS + FOLDS + RESULT + "    found['expected'] = (0.0, 1.0)\n    return found",
        "a missing key": PROJECT + KEYS + FOLDS + RESULT + "    del found['leaked']\n    return found",
    },
}

RIGHT = {
    "leaked": {
        "pair by pair": LEAKED + (
            "    found = []\n    for place, (row, group) in enumerate(zip(test, test_groups)):\n"
            "        hit = group in set(np.asarray(train_groups).tolist())\n"
            "        for other in train:\n"
            "            if row.std() > 1e-9 and other.std() > 1e-9 and np.corrcoef(row, other)[0, 1] >= alike:\n"
            "                hit = True\n        if hit:\n            found.append(place)\n    return found"
        ),
    },
    "split_groups": {
        "one class after the other": SPLIT + (
            "    rng, best = np.random.default_rng(seed), None\n    for _ in range(60):\n        side = {}\n"
            "        for c in np.argsort(np.bincount(labels), kind='stable'):\n"  # the rarest class first
            "            names = [g for g in rng.permutation(np.unique(groups[labels == c])).tolist() if g not in side]\n"
            "            first = rng.random() < 0.5\n"
            "            for i, g in enumerate(names):\n"
            "                side[g] = (i == 0) == first if len(names) == 2 else rng.random() < share\n"
            "        test = np.array([side[g] for g in groups.tolist()])\n"
            "        both = set(labels[test]) == set(labels[~test])\n"
            "        if both and (best is None or abs(test.mean() - share) < abs(best.mean() - share)):\n            best = test\n"
            "    return best"
        ),
    },
    "baselines": {
        "recalls by hand": BASE + PREDICT + (
            "    p = cross_val_predict(probe, rows, labels, groups=groups, cv=GroupKFold(5))\n    classes = np.unique(labels)\n"
            "    return {'always': 1 / len(classes), 'simple': float(np.mean([(p[labels == c] == c).mean() for c in classes]))}"
        ),
    },
    "interval": {
        "the helper": (
            "def interval(correct, groups):\n    from helpers import capstone\n    found = capstone.estimate(correct, groups)\n"
            "    return found.low, found.high"
        ),
        "a bootstrap of groups, Wilson at the edges": INTERVAL + BOOTSTRAP + (
            "    k = len(names)\n    t = stats.t.ppf(0.975, k - 1)\n    z = t / (1 + t**2 / k)\n"
            "    if p in (0, 1):\n        low = t**2 / (k + t**2)\n        return (1 - low, 1.0) if p == 1 else (0.0, low)\n"
            "    h = t * means.std() * np.sqrt(k / (k - 1))\n    return max(0.0, p - h), min(1.0, p + h)"
        ),
    },
    "project": {
        "six folds and a fixed margin": PROJECT + KEYS + FOLDS + RESULT + "    return found",
    },
}
