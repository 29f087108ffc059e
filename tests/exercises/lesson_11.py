"""Wrong answers that learners give to the exercises of lesson 11, and right ones that differ from the reference."""

COUNT = (
    "    clusters, labels = np.asarray(clusters), np.asarray(labels)\n"
    "    table = np.zeros((clusters.max() + 1, labels.max() + 1), int)\n    np.add.at(table, (clusters, labels), 1)\n"
)
ACCURACY = "def hungarian_accuracy(clusters, labels):\n" + COUNT
CHOOSE = "def choose_k(points, candidates):\n"
IMAGES = "def choose_images(vectors, budget):\n"
SCALED = "    v = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)\n"
SCORE = "def strangeness(normal, new, k):\n    return NearestNeighbors(n_neighbors=k).fit(normal).kneighbors(new)[0].mean(1)\n\n"
ALARM = (
    "def threshold(normal, k, rate):\n"
    "    d = NearestNeighbors(n_neighbors=k + 1).fit(normal).kneighbors(normal)[0][:, 1:]\n"
    "    return float(np.quantile(d.mean(1), 1 - rate))\n"
)
FOLLOWS = "def follows(clusters, known):\n"

WRONG = {
    "hungarian_accuracy": {
        "the largest number first": (
            "def hungarian_accuracy(clusters, labels):\n    table = np.zeros((clusters.max() + 1, labels.max() + 1), int)\n"
            "    np.add.at(table, (clusters, labels), 1)\n    right = 0\n    while table.max() > 0:\n"
            "        c, y = np.unravel_index(table.argmax(), table.shape)\n        right += table[c, y]\n"
            "        table[c], table[:, y] = 0, 0\n    return right / len(labels)\n"
        ),
        "majority names": ACCURACY + "    return float(table.max(1).sum() / len(labels))\n",
        "numbers taken as names": "def hungarian_accuracy(clusters, labels):\n    return float(np.mean(np.asarray(clusters) == labels))\n",
        "first come, first served": ACCURACY + (
            "    right = 0\n    for row in table:\n        right += row.max()\n        table[:, row.argmax()] = 0\n"
            "    return float(right / len(labels))\n"
        ),
        "the worst naming": ACCURACY + (
            "    rows, columns = linear_sum_assignment(table)\n    return float(table[rows, columns].sum() / len(labels))\n"
        ),
        "classes choose their clusters": ACCURACY + "    return float(table.max(0).sum() / len(labels))\n",
    },
    "choose_k": {
        "lowest inertia": CHOOSE + "    return min(candidates, key=lambda k: KMeans(k, n_init=3, random_state=0).fit(points).inertia_)\n",
        "always the middle": CHOOSE + "    return candidates[len(candidates) // 2]\n",
        "largest fall of inertia": CHOOSE + (
            "    inertia = [KMeans(k, n_init=3, random_state=0).fit(points).inertia_ for k in candidates]\n"
            "    return candidates[1 + int(np.argmax(-np.diff(inertia)))]\n"
        ),
        "the smallest silhouette": CHOOSE + (
            "    return min(candidates, key=lambda k: metrics.silhouette_score("
            "points, KMeans(k, n_init=3, random_state=0).fit_predict(points)))\n"
        ),
        "the position, not the candidate": CHOOSE + (
            "    s = [metrics.silhouette_score(points, KMeans(k, n_init=3, random_state=0).fit_predict(points)) for k in candidates]\n"
            "    return int(np.argmax(s))\n"
        ),
    },
    "choose_images": {
        "the first ones": IMAGES + "    return list(range(budget))\n",
        "at random": IMAGES + "    return np.random.default_rng(5).choice(len(vectors), budget, replace=False).tolist()\n",
        "the strangest": IMAGES + SCALED + "    return np.argsort(-np.linalg.norm(v, axis=1))[:budget].tolist()\n",
        "nearest to the overall mean": IMAGES + SCALED + "    return np.argsort(np.linalg.norm(v, axis=1))[:budget].tolist()\n",
        "all from one cluster": IMAGES + (
            "    model = KMeans(10, n_init=3, random_state=0).fit(vectors)\n"
            "    return np.argsort(model.transform(vectors)[:, 0])[:budget].tolist()\n"
        ),
        "one for each of ten clusters": IMAGES + "    return clustering.queries(vectors, 10)[0].tolist()\n",
    },
    "sharpen": {
        "sums of the rows without keepdim": "def sharpen(q):\n    w = q.detach() ** 2 / q.detach().sum(0)\n    return w / w.sum(1)\n",
        "without the sizes": (
            "def sharpen(q):\n    weight = q.detach() ** 2\n    return weight / weight.sum(1, keepdim=True)\n"
        ),
        "without the last step": "def sharpen(q):\n    return q.detach() ** 2 / q.detach().sum(0)\n",
        "sizes of the squares": (
            "def sharpen(q):\n    w = q.detach() ** 2\n    w = w / w.sum(0)\n    return w / w.sum(1, keepdim=True)\n"
        ),
        "the gradient flows": "def sharpen(q):\n    w = q**2 / q.sum(0)\n    return w / w.sum(1, keepdim=True)\n",
        "hard assignments": "def sharpen(q):\n    return torch.eye(q.shape[1], dtype=q.dtype)[q.argmax(1)]\n",
        "in place": (
            "@torch.no_grad()\ndef sharpen(q):\n    sizes = q.sum(0)\n    q.pow_(2).div_(sizes).div_(q.sum(1, keepdim=True))\n"
            "    return q\n"
        ),
    },
    "strangeness": {
        "compared with itself": SCORE + (
            "def threshold(normal, k, rate):\n    return float(np.quantile(strangeness(normal, normal, k), 1 - rate))\n"
        ),
        "the wrong tail": SCORE + ALARM.replace("1 - rate", "rate"),
        "the strangest normal row": SCORE + ALARM.replace("np.quantile(d.mean(1), 1 - rate)", "d.mean(1).max()"),
        "the kth neighbour alone": SCORE.replace(".mean(1)", "[:, -1]") + ALARM,
        "distance to the mean": "def strangeness(normal, new, k):\n    return np.linalg.norm(new - normal.mean(0), axis=1)\n\n" + ALARM,
        "two deviations above the mean": SCORE + (
            "def threshold(normal, k, rate):\n    s = strangeness(normal, normal, k)\n    return float(s.mean() + 2 * s.std())\n"
        ),
    },
    "follows": {
        "plain mutual information": FOLLOWS + (
            "    scores = {name: metrics.normalized_mutual_info_score(v, clusters) for name, v in known.items()}\n"
            "    best = max(scores, key=scores.get)\n    return best if scores[best] > 0.05 else 'nothing'\n"
        ),
        "purity": FOLLOWS + (
            "    def purity(v):\n"
            "        return sum(np.unique(v[clusters == c], return_counts=True)[1].max() for c in np.unique(clusters))\n\n"
            "    return max(known, key=lambda name: purity(np.asarray(known[name])))\n"
        ),
        "never nothing": FOLLOWS + (
            "    return max(known, key=lambda name: metrics.adjusted_mutual_info_score(known[name], clusters))\n"
        ),
        "always the digit": FOLLOWS + "    return 'digit' if 'digit' in known else 'device'\n",
        "one-to-one accuracy": FOLLOWS + (
            "    return max(known, key=lambda name: clustering.cluster_accuracy(np.asarray(clusters), np.asarray(known[name])))\n"
        ),
    },
}

RIGHT = {
    "hungarian_accuracy": {
        "with the library": "def hungarian_accuracy(clusters, labels):\n    return clustering.cluster_accuracy(clusters, labels)\n",
        "from a contingency table": (
            "def hungarian_accuracy(clusters, labels):\n    table = metrics.cluster.contingency_matrix(labels, clusters)\n"
            "    return table[linear_sum_assignment(-table)].sum() / len(labels)\n"
        ),
    },
    "choose_k": {
        "Calinski-Harabasz": CHOOSE + (
            "    return max(candidates, key=lambda k: metrics.calinski_harabasz_score("
            "points, KMeans(k, n_init=10, random_state=0).fit_predict(points)))\n"
        ),
        "Davies-Bouldin": CHOOSE + (
            "    return min(candidates, key=lambda k: metrics.davies_bouldin_score("
            "points, KMeans(k, n_init=10, random_state=0).fit_predict(points)))\n"
        ),
    },
    "choose_images": {
        "centres of plain k-means": IMAGES + (
            "    model = KMeans(budget, n_init=10, random_state=0).fit(vectors)\n    return model.transform(vectors).argmin(0)\n"
        ),
        "centres of unit vectors": IMAGES + (
            "    v = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)\n"
            "    model = KMeans(budget, n_init=10, random_state=1).fit(v)\n    return model.transform(v).argmin(0).tolist()\n"
        ),
    },
    "sharpen": {
        "with no_grad and einsum": (
            "@torch.no_grad()\ndef sharpen(q):\n    w = torch.einsum('ij,ij,j->ij', q, q, 1 / q.sum(0))\n"
            "    return w / w.sum(dim=1)[:, None]\n"
        ),
    },
    "strangeness": {
        "one half against the other": (
            "def strangeness(normal, new, k):\n    d = np.sqrt(((new[:, None] - normal[None]) ** 2).sum(2))\n"
            "    return np.sort(d, axis=1)[:, :k].mean(1)\n\n"
            "def threshold(normal, k, rate):\n    scores = []\n    for fold in range(10):\n"
            "        held = np.arange(len(normal)) % 10 == fold\n        scores.append(strangeness(normal[~held], normal[held], k))\n"
            "    return np.quantile(np.concatenate(scores), 1 - rate)\n"
        ),
    },
    "follows": {
        "adjusted Rand index": FOLLOWS + (
            "    scores = {name: metrics.adjusted_rand_score(v, clusters) for name, v in known.items()}\n"
            "    best = max(scores, key=scores.get)\n    return best if scores[best] > 0.02 else 'nothing'\n"
        ),
        "beyond shuffled facts": FOLLOWS + (
            "    rng, scores = np.random.default_rng(0), {}\n    for name, v in known.items():\n"
            "        real = metrics.mutual_info_score(v, clusters)\n"
            "        luck = [metrics.mutual_info_score(rng.permutation(v), clusters) for _ in range(100)]\n"
            "        scores[name] = (real - np.mean(luck)) / (np.std(luck) + 1e-9)\n"
            "    best = max(scores, key=scores.get)\n    return best if scores[best] > 4 else 'nothing'\n"
        ),
    },
}
