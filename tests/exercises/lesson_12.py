"""Wrong answers that learners give to the exercises of lesson 12, and right ones that differ from the reference."""

POOL_HEAD = "def mean_pool(states, mask):\n"
POOL_CHECK = "    if (mask.float().sum(1) == 0).any():\n        raise ValueError('a text without a token')\n"
SPLIT_HEAD = "def split_by_file(labels, files, k, seed):\n    rng = np.random.default_rng(seed)\n"
DRAW = "    return np.concatenate([rng.permutation(pool[labels[pool] == c])[:k] for c in np.unique(labels)]), test"
BY_CLASS = SPLIT_HEAD + (
    "    found = next(StratifiedGroupKFold(4, shuffle=True, random_state=seed).split(labels, labels, files))\n    pool, test = found\n"
)
SEARCH_HEAD = "def search(question, vectors, k, limit):\n    question, vectors = np.asarray(question, float), np.asarray(vectors, float)\n"
SEARCH_CHECK = "    if not question.any():\n        raise ValueError('a question of zeros')\n"
COSINES = (
    "    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(question)\n"
    "    c = np.divide(vectors @ question, lengths, out=np.zeros(len(vectors)), where=lengths > 0)\n"
)
BAGS = "def leaked(train, test, threshold):\n    bag = lambda s: set(re.findall(r'\\w+', s.lower()))\n"
SCORE = (
    "def choose(counts, vectors, labels, sources):\n    def score(x, strength):\n"
    "        model = LogisticRegression(C=strength, max_iter=500)\n"
)
DECIDE = "    return 'counts' if score(counts, 10) > score(vectors, 1) else 'embedding'"

WRONG = {
    "mean_pool": {
        "a plain mean over all places": POOL_HEAD + POOL_CHECK + "    return states.mean(1)",
        "masked sum divided by all places": POOL_HEAD + POOL_CHECK + "    return (states * mask.unsqueeze(-1)).mean(1)",
        "one count for all texts": POOL_HEAD + POOL_CHECK + "    return (states * mask.unsqueeze(-1)).sum(1) / mask.float().sum(1).mean()",
        "the first token": POOL_HEAD + POOL_CHECK + "    return states[:, 0]",
        "empty texts give NaN": POOL_HEAD + "    m = mask.unsqueeze(-1).float()\n    return (states * m).sum(1) / m.sum(1)",
        "the last k tokens are taken for padding": POOL_HEAD + POOL_CHECK + (
            "    return torch.stack([row[: int(m.sum())].mean(0) for row, m in zip(states, mask)])"
        ),
        "sets padding to zero in place": POOL_HEAD + POOL_CHECK + (
            "    states[~mask.bool()] = 0\n    return states.sum(1) / mask.float().sum(1, keepdim=True)"
        ),
    },
    "split_by_file": {
        "texts are divided, not files": SPLIT_HEAD + (
            "    order = rng.permutation(len(labels))\n    test, pool = order[: len(order) // 4], order[len(order) // 4 :]\n"
        ) + DRAW,
        "k texts first, the rest tests": SPLIT_HEAD + (
            "    pool = np.arange(len(labels))\n"
            "    train = np.concatenate([rng.permutation(pool[labels == c])[:k] for c in np.unique(labels)])\n"
            "    return train, np.setdiff1d(pool, train)"
        ),
        "the seed is not used": SPLIT_HEAD.replace("(seed)", "(0)") + (
            "    pool, test = next(StratifiedGroupKFold(4).split(labels, labels, files))\n"
        ) + DRAW,
        "all of the pool, not k of each": BY_CLASS + "    return pool, test",
        "k texts in all": BY_CLASS + "    return rng.permutation(pool)[:k], test",
        "drawn with replacement": BY_CLASS + (
            "    return np.concatenate([rng.choice(pool[labels[pool] == c], 10 * k) for c in np.unique(labels)]), test"
        ),
        "only some texts of the test's files": BY_CLASS + "    test = rng.permutation(test)[: len(test) // 2]\n" + DRAW,
        "one file is the test": SPLIT_HEAD + (
            "    file = rng.choice(np.unique(files))\n    test, pool = np.flatnonzero(files == file), np.flatnonzero(files != file)\n"
        ) + DRAW,
    },
    "search": {
        "no division by the lengths": SEARCH_HEAD + SEARCH_CHECK + (
            "    c = vectors @ question\n    return [int(i) for i in np.argsort(-c)[:k] if c[i] >= limit]"
        ),
        "the nearest is always returned": SEARCH_HEAD + SEARCH_CHECK + COSINES + "    return [int(i) for i in np.argsort(-c)[:k]]",
        "only above the limit": SEARCH_HEAD + SEARCH_CHECK + COSINES + "    return [int(i) for i in np.argsort(-c)[:k] if c[i] > limit]",
        "the worst first": SEARCH_HEAD + SEARCH_CHECK + COSINES + "    return [int(i) for i in np.argsort(c)[:k] if c[i] >= limit]",
        "all that reach the limit": SEARCH_HEAD + SEARCH_CHECK + COSINES + "    return [int(i) for i in np.argsort(-c) if c[i] >= limit]",
        "a question of zeros is answered": SEARCH_HEAD + COSINES + "    return [int(i) for i in np.argsort(-c)[:k] if c[i] >= limit]",
        "distance instead of angle": SEARCH_HEAD + SEARCH_CHECK + (
            "    d = np.linalg.norm(vectors - question, axis=1)\n    return [int(i) for i in np.argsort(d)[:k] if 1 - d[i] >= limit]"
        ),
    },
    "leaked": {
        "equal texts only": "def leaked(train, test, threshold):\n    return [s in train for s in test]",
        "case counts": BAGS.replace("s.lower()", "s") + (
            "    return [any(bag(s) and len(bag(s) & bag(t)) / len(bag(s) | bag(t)) >= threshold for t in train) for s in test]"
        ),
        "divided by the words of the test text": BAGS + (
            "    return [any(bag(s) and len(bag(s) & bag(t)) / len(bag(s)) >= threshold for t in train) for s in test]"
        ),
        "above the threshold, not at it": BAGS + (
            "    return [any(bag(s) and len(bag(s) & bag(t)) / len(bag(s) | bag(t)) > threshold for t in train) for s in test]"
        ),
        "flags the training texts": BAGS + (
            "    return [any(bag(s) and len(bag(s) & bag(t)) / len(bag(s) | bag(t)) >= threshold for t in test) for s in train]"
        ),
        "compares place by place": BAGS + (
            "    return [bool(bag(s)) and len(bag(s) & bag(t)) / len(bag(s) | bag(t)) >= threshold for s, t in zip(test, train)]"
        ),
    },
    "choose": {
        "always the embedding": "def choose(counts, vectors, labels, sources):\n    return 'embedding'",
        "always counts": "def choose(counts, vectors, labels, sources):\n    return 'counts'",
        "cross-validation at random": SCORE + "        return cross_val_score(model, x, labels, cv=4).mean()\n" + DECIDE,
        "training accuracy": SCORE + "        return model.fit(x, labels).score(x, labels)\n" + DECIDE,
        "the wrong way round": SCORE + (
            "        folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)\n"
            "        return -cross_val_score(model, x, labels, groups=sources, cv=folds).mean()\n"
        ) + DECIDE,
    },
}

RIGHT = {
    "mean_pool": {
        "text by text, with a boolean mask": POOL_HEAD + POOL_CHECK + (
            "    return torch.stack([row[m.bool()].mean(0) for row, m in zip(states, mask)])"
        ),
        "as a product of matrices": POOL_HEAD + POOL_CHECK + (
            "    w = mask.to(states.dtype)\n    return torch.einsum('nt,ntd->nd', w / w.sum(1, keepdim=True), states)"
        ),
    },
    "split_by_file": {
        "files drawn until every class is tested": SPLIT_HEAD + (
            "    names = np.unique(files)\n    while True:\n        chosen = rng.permutation(names)[: len(names) // 4]\n"
            "        side = np.isin(files, chosen)\n        pool, test = np.flatnonzero(~side), np.flatnonzero(side)\n"
            "        if set(labels[test]) == set(labels):\n            break\n"
        ) + DRAW,
    },
    "search": {
        "unit vectors, in plain Python": SEARCH_HEAD + SEARCH_CHECK + (
            "    unit = lambda v: v / (np.linalg.norm(v) or 1.0)\n    c = [float(unit(v) @ unit(question)) for v in vectors]\n"
            "    order = sorted(range(len(c)), key=lambda i: -c[i])\n    return [i for i in order if c[i] >= limit][:k]"
        ),
    },
    "leaked": {
        "loops, an array of booleans": BAGS + (
            "    flags = np.zeros(len(test), bool)\n    for i, s in enumerate(map(bag, test)):\n        for t in map(bag, train):\n"
            "            if s and t and len(s & t) >= threshold * len(s | t) - 1e-12:\n                flags[i] = True\n    return flags"
        ),
    },
    "choose": {
        "GroupKFold and plain accuracy": "from sklearn.model_selection import GroupKFold\n" + SCORE + (
            "        return cross_val_score(model, x, labels, groups=sources, cv=GroupKFold(5)).mean()\n"
        ) + DECIDE,
        "one half of the sources against the other, three times": (
            "def choose(counts, vectors, labels, sources):\n    gain = 0\n    for seed in range(3):\n"
            "        a, b = next(StratifiedGroupKFold(2, shuffle=True, random_state=seed).split(labels, labels, sources))\n"
            "        for x, c, sign in ((counts, 10, 1), (vectors, 1, -1)):\n"
            "            model = LogisticRegression(C=c, max_iter=500).fit(x[a], labels[a])\n"
            "            gain += sign * balanced_accuracy_score(labels[b], model.predict(x[b]))\n"
            "    return 'counts' if gain > 0 else 'embedding'"
        ),
    },
}
