"""Wrong answers that learners give to the exercises of lesson @NUMBER@, and right ones that differ from the reference."""

WRONG = {
    "class_means": {
        "one mean of all": "def class_means(vectors, labels):\n    return vectors.mean(0)",
        "sums": "def class_means(vectors, labels):\n    return np.stack([vectors[labels == c].sum(0) for c in range(labels.max() + 1)])",
        "medians": (
            "def class_means(vectors, labels):\n    return np.stack([np.median(vectors[labels == c], 0) for c in range(labels.max() + 1)])"
        ),
        "the classes as they come": (
            "def class_means(vectors, labels):\n"
            "    return np.stack([vectors[labels == c].mean(0) for c in dict.fromkeys(labels.tolist())]) + vectors.mean()"
        ),
    },
    "choose": {
        "judged on the labelled images themselves": (
            "def choose(candidates, labels):\n    from sklearn.neighbors import NearestCentroid\n"
            "    return max(candidates, key=lambda name: NearestCentroid().fit(candidates[name], labels).score(candidates[name], labels))"
        ),
        "the most numbers": "def choose(candidates, labels):\n    return max(candidates, key=lambda name: candidates[name].shape[1])",
        "the first one": "def choose(candidates, labels):\n    return next(iter(candidates))",
    },
}

RIGHT = {
    "class_means": {
        "a matrix product": (
            "def class_means(vectors, labels):\n    member = np.eye(labels.max() + 1)[labels]\n"
            "    return member.T @ vectors / member.sum(0)[:, None]"
        ),
    },
    "choose": {
        "leave one out by hand": (
            "def choose(candidates, labels):\n    def score(v):\n        right = 0\n        for i in range(len(v)):\n"
            "            rest = np.arange(len(v)) != i\n"
            "            means = np.stack([v[rest & (labels == c)].mean(0) for c in range(labels.max() + 1)])\n"
            "            right += ((means - v[i]) ** 2).sum(1).argmin() == labels[i]\n        return right\n"
            "    return max(candidates, key=lambda name: score(candidates[name]))"
        ),
    },
}
