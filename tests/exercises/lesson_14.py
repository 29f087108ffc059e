"""Wrong answers that learners give to the exercises of lesson 14, and right ones that differ from the reference."""

TOPICS = '("neural nets", "images", "tables", "the web", "statistics", "signals", "graphs", "plots", "algebra")'
SIDES = """
def my_sentences():
    return {
        "neural nets": ["A layer with trainable weights, such as a convolution.", "The gradient of a loss, an optimizer, an activation."],
        "images": ["Transforms the pixels of an image.", "Edges, contours, regions and colours of a photo.", "Resizes or blurs a picture."],
        "tables": ["Columns and rows of a DataFrame or Series.", "Group by a key and aggregate.", "The index, missing values and dtypes."],
        "the web": ["An HTTP request or response.", "Sockets, servers, cookies and URLs.", "Asynchronous connections of a client."],
        "statistics": ["The distribution of a random variable.", "A statistical test with a p-value.", "Mean, variance, samples."],
        "signals": ["A digital filter and its frequency response.", "The spectrum of a signal.", "Samples, windows and wavelets."],
        "graphs": ["Nodes and edges of a graph.", "Shortest paths between nodes.", "Generates a random network with a given degree."],
        "plots": ["Draws lines and markers on the axes of a figure.", "Labels, legends and ticks.", "The colormap of a plot."],
        "algebra": ["Symbolic expressions and polynomials.", "Solves an equation exactly.", "Derivatives and integrals of a formula."],
    }
"""
EVEN_HEAD = "def calibrate(cosines, shares, sharpness):\n    cosines, shares = np.asarray(cosines, float), np.asarray(shares, float)\n"
EVEN_CHECK = "    if (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:\n        raise ValueError('shares')\n"
START = "    p = np.exp(sharpness * (cosines - cosines.max(1, keepdims=True)))\n"
SCALE = (
    "    for _ in range(200):\n        p = p * (shares / np.maximum(p.mean(0), 1e-300))\n"
    "        p = p / p.sum(1, keepdims=True)\n    return p"
)
PRIOR_HEAD = "def prototypes(vectors, labels, described, weight):\n    rows = []\n    for k, d in enumerate(described):\n"
OWN = "        own = vectors[labels == k]\n"
PRIOR_END = "    rows = np.array(rows)\n    return rows / np.linalg.norm(rows, axis=1, keepdims=True)"
LIMIT = "def threshold(scores, accept):\n    n, falling = len(scores), np.sort(scores)[::-1]\n"
SCORE = "def choose(cosines, vectors, labels, files):\n    zero = np.mean(cosines.argmax(1) == labels)\n"
MODEL = "LogisticRegression(C=1, max_iter=500)"
NEXT = "def next_probabilities(logits, temperature, k):\n"
TOP = NEXT + "    v, i = torch.topk(logits, k)\n    q = torch.zeros_like(logits)\n"

WRONG = {
    "my_sentences": {
        "the names, dressed up": f'def my_sentences():\n    return {{name: ["It is about " + name + "."] * 2 for name in {TOPICS}}}',
        "the same for all": f'def my_sentences():\n    return {{name: ["It is a function.", "Returns a value."] for name in {TOPICS}}}',
        "the lesson's": "def my_sentences():\n    return {name: list(listed) for name, listed in zero_shot.SENTENCES.items()}",
        "one topic left out": SIDES + "\nfull = my_sentences\n\ndef my_sentences():\n    return dict(list(full().items())[:8])",
        "topics mixed up": SIDES + (
            "\nfull = my_sentences\n\ndef my_sentences():\n"
            "    found = full()\n    return dict(zip(found, [*list(found.values())[1:], found['images']]))"
        ),
    },
    "calibrate": {
        "equal shares": EVEN_HEAD + EVEN_CHECK + "    shares = (shares > 0) / (shares > 0).sum()\n" + START + SCALE,
        "centres the cosines": EVEN_HEAD + EVEN_CHECK + (
            "    c = cosines - cosines.mean(0)\n    p = np.exp(np.minimum(sharpness * c, 600)) * shares\n"
            "    return p / p.sum(1, keepdims=True)"
        ),
        "multiplies by the shares, once": EVEN_HEAD + EVEN_CHECK + START + "    p = p * shares\n    return p / p.sum(1, keepdims=True)",
        "columns last": EVEN_HEAD + EVEN_CHECK + START + (
            "    for _ in range(3):\n        p = p / p.sum(1, keepdims=True)\n"
            "        p = p * (shares / np.maximum(p.mean(0), 1e-300))\n    return p"
        ),
        "overflows": EVEN_HEAD + EVEN_CHECK + "    p = np.exp(sharpness * cosines)\n" + SCALE,
        "divides by nothing for an absent class": EVEN_HEAD + EVEN_CHECK + START + (
            "    for _ in range(200):\n        p = p / p.mean(0) * shares\n        p = p / p.sum(1, keepdims=True)\n    return p"
        ),
        "does not look at the shares": EVEN_HEAD + START + SCALE,
    },
    "prototypes": {
        "the mean, not the sum": PRIOR_HEAD + OWN + "        rows.append(own.mean(0) + weight * d if len(own) else d)\n" + PRIOR_END,
        "no case for an empty class": PRIOR_HEAD + "        rows.append(vectors[labels == k].sum(0) + weight * d)\n" + PRIOR_END,
        "not scaled": PRIOR_HEAD + OWN + "        rows.append(own.sum(0) + weight * d if len(own) else d)\n    return np.array(rows)",
        "labels alone": PRIOR_HEAD + OWN + "        rows.append(own.sum(0) if len(own) else d)\n" + PRIOR_END,
        "descriptions alone": PRIOR_HEAD + "        rows.append(d)\n" + PRIOR_END,
    },
    "threshold": {
        "np.quantile": "def threshold(scores, accept):\n    return float(np.quantile(scores, 1 - accept))",
        "the share that is rejected": LIMIT + "    return float(falling[int(np.ceil((1 - accept) * n - 1e-9)) - 1])",
        "rounds down": LIMIT + "    return float(falling[max(int(accept * n), 1) - 1])",
        "no hair for rounding": LIMIT + "    return float(falling[max(int(np.ceil(accept * n)), 1) - 1])",
        "the lowest score": "def threshold(scores, accept):\n    return float(np.min(scores))",
        "sorts in place": (
            "def threshold(scores, accept):\n    scores.sort()\n    n = len(scores)\n"
            "    return float(scores[::-1][int(np.ceil(accept * n - 1e-9)) - 1])"
        ),
    },
    "choose": {
        "always descriptions": "def choose(cosines, vectors, labels, files):\n    return 'descriptions'",
        "always labels": "def choose(cosines, vectors, labels, files):\n    return 'labels'",
        "training accuracy": SCORE + (
            f"    known = {MODEL}.fit(vectors, labels).score(vectors, labels)\n    return 'labels' if known > zero else 'descriptions'"
        ),
        "counts the labels": "def choose(cosines, vectors, labels, files):\n    return 'labels' if len(labels) >= 50 else 'descriptions'",
        "the wrong way round": SCORE + (
            "    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)\n"
            f"    said = cross_val_predict({MODEL}, vectors, labels, groups=files, cv=folds)\n"
            "    return 'descriptions' if np.mean(said == labels) > zero else 'labels'"
        ),
    },
    "next_probabilities": {
        "softmax of all": NEXT + "    return torch.softmax(logits / max(temperature, 1e-6), 0)",
        "cut after the softmax, not scaled again": NEXT + (
            "    p = torch.softmax(logits / max(temperature, 1e-6), 0)\n"
            "    v, i = torch.topk(p, k)\n    q = torch.zeros_like(p)\n    q[i] = v\n    return q"
        ),
        "multiplies by the temperature": TOP + "    q[i] = torch.softmax(v * temperature, 0)\n    return q",
        "divides by temperature 0": TOP + "    q[i] = torch.softmax(v / temperature, 0)\n    return q",
        "shares among equals at temperature 0": NEXT + (
            "    if temperature == 0:\n        return (logits == logits.max()).float()\n"
            "    low = logits < torch.sort(logits).values[-k]\n"
            "    return torch.softmax(logits.masked_fill(low, -float('inf')) / temperature, 0)"
        ),
        "forgets the temperature": TOP + "    q[i] = torch.softmax(v, 0)\n    return q",
    },
}

RIGHT = {
    "my_sentences": {"two or three sides of each topic": SIDES},
    "calibrate": {
        "in logarithms": "from scipy.special import logsumexp\n" + EVEN_HEAD + EVEN_CHECK + (
            "    used = shares > 0\n    logs, goal = sharpness * cosines[:, used], np.log(shares[used])\n    for _ in range(200):\n"
            "        logs = logs + goal - (logsumexp(logs, axis=0) - np.log(len(logs)))\n"
            "        logs = logs - logsumexp(logs, axis=1, keepdims=True)\n"
            "    found = np.zeros(cosines.shape)\n    found[:, used] = np.exp(logs)\n    return found"
        ),
    },
    "prototypes": {
        "class by class": PRIOR_HEAD + OWN + "        rows.append(own.sum(0) + weight * d if len(own) else d)\n" + PRIOR_END,
    },
    "threshold": {
        "tries every score": (
            "def threshold(scores, accept):\n"
            "    good = [s for s in scores if sum(t >= s for t in scores) >= accept * len(scores) - 1e-9]\n    return max(good)"
        ),
    },
    "choose": {
        "GroupKFold, five folds, balanced": (
            "from sklearn.model_selection import GroupKFold\nfrom sklearn.metrics import balanced_accuracy_score\n\n"
            "def choose(cosines, vectors, labels, files):\n    zero = balanced_accuracy_score(labels, cosines.argmax(1))\n"
            f"    said = cross_val_predict({MODEL}, vectors, labels, groups=files, cv=GroupKFold(5))\n"
            "    return 'labels' if balanced_accuracy_score(labels, said) > zero else 'descriptions'"
        ),
    },
    "next_probabilities": {
        "minus infinity": NEXT + (
            "    if temperature == 0:\n        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).to(logits.dtype)\n"
            "    low = logits < torch.sort(logits).values[-k]\n"
            "    return torch.softmax(logits.masked_fill(low, -float('inf')) / temperature, 0)"
        ),
    },
}
