"""Wrong answers that learners give to the exercises of lesson 07, and right ones that differ from the reference."""

KERNEL = "    k = lambda a, b: np.exp(-((a[:, None] - b[None]) ** 2).sum(2) / (2 * width**2))\n"
MMD2 = "def mmd2(x, y, width):\n" + KERNEL + "    return float(k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean())\n\n"
P_HEAD = (
    "def p_value(x, y, width, permutations, seed):\n"
    "    rng, both, n = np.random.default_rng(seed), np.concatenate([x, y]), len(x)\n"
    "    found = mmd2(x, y, width)\n"
)
P_VALUE = P_HEAD + (
    "    dealt = [rng.permutation(both) for _ in range(permutations)]\n"
    "    return (1 + sum(mmd2(d[:n], d[n:], width) >= found - 1e-12 for d in dealt)) / (1 + permutations)\n"
)
WORST = (
    "def worst_group(predictions, labels, groups):\n    right = predictions == labels\n"
    "    scores = [(right[groups == g].mean(), g) for g in np.unique(groups)]\n    return min(scores)[1], min(scores)[0]\n\n"
)
ALIKE = "def group_weights(predictions, labels, groups):\n    return np.array([1 / np.sum(groups == g) for g in groups])\n"
SHARES_HEAD = (
    "def class_shares(source_predictions, source_labels, target_predictions, classes):\n"
    "    c = np.zeros((classes, classes))\n    np.add.at(c, (source_predictions, source_labels), 1)\n"
    "    q = np.bincount(target_predictions, minlength=classes) / len(target_predictions)\n"
)
RATIO_HEAD = (
    "def importance_weights(source, target):\n    domain = np.repeat([0, 1], [len(source), len(target)])\n"
    "    model = LogisticRegression().fit(np.concatenate([source, target]), domain)\n    p = model.predict_proba(source)[:, 1]\n"
)
DIAGNOSE = (
    "def diagnose(x_source, y_source, x_target, y_few):\n    apart = divergence.domain_classifier(x_source, x_target).accuracy\n"
    "    probe = features.linear_probe(x_source, y_source)\n    few = probe.score(x_target[:200], y_few)\n"
    "    home = cross_val_score(probe, x_source, y_source, cv=5).mean()\n    share = abs(y_few.mean() - y_source.mean())\n"
)

WRONG = {
    "mmd2": {
        "the mixed mean counted once": MMD2.replace("2 * k(x, y)", "k(x, y)") + P_VALUE,
        "distance not squared": MMD2.replace("-((a[:, None] - b[None]) ** 2).sum(2)", "-abs(a[:, None] - b[None]).sum(2)") + P_VALUE,
        "without the pairs of an input with itself": (
            "def mmd2(x, y, width):\n" + KERNEL + "    n, m = len(x), len(y)\n"
            "    u = lambda s, c: (k(s, s).sum() - c) / max(c * (c - 1), 1)\n"
            "    return float(u(x, n) + u(y, m) - 2 * k(x, y).mean())\n\n"
        ) + P_VALUE,
        "the real deal is not counted": MMD2 + P_VALUE.replace("(1 + sum(", "(sum(").replace("/ (1 + permutations)", "/ permutations"),
        "counts the deals that are nearer": MMD2 + P_VALUE.replace(">= found - 1e-12", "< found"),
        "only the first sample is dealt anew": MMD2 + P_HEAD + (
            "    dealt = [rng.permutation(x) for _ in range(permutations)]\n"
            "    return (1 + sum(mmd2(d, y, width) >= found - 1e-12 for d in dealt)) / (1 + permutations)\n"
        ),
        "the same deal each time": MMD2 + P_HEAD + (
            "    dealt = [np.random.default_rng(seed).permutation(both) for _ in range(permutations)]\n"
            "    return (1 + sum(mmd2(d[:n], d[n:], width) >= found - 1e-12 for d in dealt)) / (1 + permutations)\n"
        ),
    },
    "effective_sample_size": {
        "not squared": "def effective_sample_size(weights):\n    w = np.asarray(weights, float)\n"
        "    return float(w.sum() / (w**2).sum())",
        "accepts negative weights": (
            "def effective_sample_size(weights):\n    w = np.asarray(weights, float)\n    if w.sum() == 0:\n"
            "        raise ValueError('all 0')\n"
            "    return float(w.sum() ** 2 / (w**2).sum())"
        ),
        "all zero gives NaN": (
            "def effective_sample_size(weights):\n    w = np.asarray(weights, float)\n    if w.min() < 0:\n"
            "        raise ValueError('negative')\n"
            "    with np.errstate(all='ignore'):\n        return float(w.sum() ** 2 / (w**2).sum())"
        ),
        "counts what is not 0": "def effective_sample_size(weights):\n    return float(np.count_nonzero(weights))",
        "depends on the scale": (
            "def effective_sample_size(weights):\n    w = np.asarray(weights, float)\n    if w.min() < 0 or w.sum() == 0:\n"
            "        raise ValueError('bad weights')\n    return float(len(w) / (w**2).mean())"
        ),
    },
    "importance_weights": {
        "the probability instead of the odds": RATIO_HEAD + "    return p / p.mean()",
        "source over target": RATIO_HEAD + "    w = (1 - p) / p\n    return w / w.mean()",
        "mean not 1": RATIO_HEAD + "    return p / (1 - p)",
        "weights of the target": (
            "def importance_weights(source, target):\n    domain = np.repeat([0, 1], [len(source), len(target)])\n"
            "    model = LogisticRegression().fit(np.concatenate([source, target]), domain)\n"
            "    p = model.predict_proba(target)[:, 1]\n"
            "    w = p / (1 - p)\n    return w / w.mean()"
        ),
        "logits": RATIO_HEAD + "    w = np.log(p / (1 - p))\n    return w / w.mean()",
        "no weights": "def importance_weights(source, target):\n    return np.ones(len(source))",
    },
    "class_shares": {
        "counts the predictions": (
            "def class_shares(source_predictions, source_labels, target_predictions, classes):\n"
            "    return np.bincount(target_predictions, minlength=classes) / len(target_predictions)"
        ),
        "the matrix transposed": SHARES_HEAD + (
            "    c = c / c.sum(0)\n    s = np.clip(np.linalg.solve(c.T, q), 0, None)\n    return s / s.sum()"
        ),
        "divides rows instead of columns": SHARES_HEAD + (
            "    c = c / c.sum(1, keepdims=True)\n    s = np.clip(np.linalg.solve(c, q), 0, None)\n    return s / s.sum()"
        ),
        "returns weights instead of shares": SHARES_HEAD + (
            "    c = c / c.sum()\n    s = np.clip(np.linalg.solve(c, q), 0, None)\n    return s / s.sum()"
        ),
        "negative shares": SHARES_HEAD + "    c = c / c.sum(0)\n    return np.linalg.solve(c, q)",
    },
    "worst_group": {
        "the smallest group": (
            "def worst_group(predictions, labels, groups):\n    g = min(np.unique(groups), key=lambda g: np.sum(groups == g))\n"
            "    return int(g), float((predictions == labels)[groups == g].mean())\n\n"
        ) + ALIKE,
        "the most errors instead of the highest rate": (
            "def worst_group(predictions, labels, groups):\n    wrong = predictions != labels\n"
            "    g = max(np.unique(groups), key=lambda g: wrong[groups == g].sum())\n"
            "    return int(g), float(1 - wrong[groups == g].mean())\n\n"
        ) + ALIKE,
        "all images alike": WORST + "def group_weights(predictions, labels, groups):\n    return np.ones(len(groups))\n",
        "only the worst group counts": WORST + (
            "def group_weights(predictions, labels, groups):\n"
            "    return (groups == worst_group(predictions, labels, groups)[0]).astype(float)\n"
        ),
        "large groups count more": WORST + (
            "def group_weights(predictions, labels, groups):\n    return np.array([np.sum(groups == g) for g in groups], float)\n"
        ),
        "only what was right counts": WORST + (
            "def group_weights(predictions, labels, groups):\n    return (predictions == labels) + 0.01\n"
        ),
    },
    "diagnose": {
        "always covariate": "def diagnose(x_source, y_source, x_target, y_few):\n    return 'covariate'",
        "looks at the inputs only": DIAGNOSE + "    return 'covariate' if apart > 0.75 else 'label' if apart > 0.56 else 'none'",
        "shares before meaning": DIAGNOSE + (
            "    if apart > 0.75:\n        return 'covariate'\n    if share > 0.1:\n        return 'label'\n"
            "    return 'concept' if home - few > 0.08 else 'none'"
        ),
        "accuracy before inputs": DIAGNOSE + (
            "    if home - few > 0.08:\n        return 'concept'\n    if apart > 0.75:\n        return 'covariate'\n"
            "    return 'label' if share > 0.2 else 'none'"
        ),
        "any visible difference is covariate shift": DIAGNOSE + (
            "    if apart > 0.55:\n        return 'covariate'\n    if home - few > 0.08:\n        return 'concept'\n"
            "    return 'label' if share > 0.2 else 'none'"
        ),
    },
}

RIGHT = {
    "mmd2": {
        "one kernel matrix, dealt by indices": (
            "def _from_kernel(k, order, n):\n    a, b = order[:n], order[n:]\n"
            "    return k[np.ix_(a, a)].mean() + k[np.ix_(b, b)].mean() - 2 * k[np.ix_(a, b)].mean()\n\n"
            "def _kernel(z, width):\n    s = (z**2).sum(1)\n"
            "    return np.exp(-np.maximum(s[:, None] + s - 2 * z @ z.T, 0) / (2 * width**2))\n\n"
            "def mmd2(x, y, width):\n    z = np.concatenate([x, y])\n"
            "    return _from_kernel(_kernel(z, width), np.arange(len(z)), len(x))\n\n"
            "def p_value(x, y, width, permutations, seed):\n    rng, z = np.random.RandomState(seed), np.concatenate([x, y])\n"
            "    k = _kernel(z, width)\n    found = _from_kernel(k, np.arange(len(z)), len(x))\n"
            "    dealt = [_from_kernel(k, rng.permutation(len(z)), len(x)) for _ in range(permutations)]\n"
            "    return (1 + np.sum(np.array(dealt) >= found - 1e-12)) / (1 + permutations)"
        ),
    },
    "effective_sample_size": {
        "plain Python": (
            "def effective_sample_size(weights):\n    w = [float(x) for x in weights]\n"
            "    if any(x < 0 for x in w) or not any(w):\n"
            "        raise ValueError('weights')\n    return sum(w) ** 2 / sum(x * x for x in w)"
        ),
    },
    "importance_weights": {
        "odds of probabilities, domains balanced": (
            "def importance_weights(source, target):\n    model = LogisticRegression(C=10, class_weight='balanced')\n"
            "    model.fit(np.concatenate([source, target]), [0] * len(source) + [1] * len(target))\n"
            "    p = model.predict_proba(source)\n    w = p[:, 1] / p[:, 0]\n    return w / w.mean()"
        ),
    },
    "class_shares": {
        "joint frequencies, weights times source shares": SHARES_HEAD + (
            "    joint = c / c.sum()\n    s = np.maximum(np.linalg.solve(joint, q), 0) * joint.sum(0)\n"
            "    return (s / s.sum()).tolist()"
        ),
    },
    "worst_group": {
        "NumPy numbers, and more weight for groups with more errors": (
            WORST + "def group_weights(predictions, labels, groups):\n    wrong = predictions != labels\n"
            "    rate = np.array([wrong[groups == g].mean() for g in groups])\n"
            "    size = np.array([np.mean(groups == g) for g in groups])\n"
            "    return np.sqrt(rate / rate.min()) / np.sqrt(size)\n"
        ),
    },
    "diagnose": {
        "MMD-free: accuracy of the domain classifier by halves": DIAGNOSE + (
            "    if apart > 0.8:\n        return 'covariate'\n    if few < home - 0.08 and share < 0.35:\n"
            "        return 'concept'\n"
            "    return 'label' if share > 0.25 else 'none'"
        ),
    },
}
