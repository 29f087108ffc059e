"""Wrong answers that learners give to the exercises of lesson 19, and right ones that differ from the reference."""

MINUS = "\n\ndef generator_loss(fake):\n    return -fake.mean()\n"
HINGE = "def discriminator_loss(real, fake):\n    return "
FREEZE = "def freeze_first(net, count):\n    places = [i for i, m in enumerate(net) if isinstance(m, nn.Conv2d)]\n"
FRECHET = (
    "def frechet(first, second):\n    gap = first.mean(0) - second.mean(0)\n"
    "    one, two = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (first, second))\n"
)
COPIED = (
    "def copied(pictures, shown, unseen):\n"
    "    near = lambda a, b: cdist(a.reshape(len(a), -1), b.reshape(len(b), -1)).min(1)\n"
)
BUY = (
    "def buy(offers, shown, labels):\n    known = shown.reshape(len(shown), -1)\n"
    "    flat = [offer.reshape(len(offer), -1) for offer in offers]\n"
)

WRONG = {
    "hinge": {
        "the two sides changed": HINGE + "F.relu(1 + real).mean() + F.relu(1 - fake).mean()\n" + MINUS,
        "no margin": HINGE + "fake.mean() - real.mean()\n" + MINUS,
        "one mean over all scores": HINGE + "torch.cat([F.relu(1 - real), F.relu(1 + fake)]).mean()\n" + MINUS,
        "the generator with a margin": (
            HINGE + "F.relu(1 - real).mean() + F.relu(1 + fake).mean()\n\n\ndef generator_loss(fake):\n    return F.relu(1 - fake).mean()\n"
        ),
        "the generator wants low scores": (
            HINGE + "F.relu(1 - real).mean() + F.relu(1 + fake).mean()\n\n\ndef generator_loss(fake):\n    return fake.mean()\n"
        ),
        "no gradient at all": (
            HINGE + "torch.tensor(float(F.relu(1 - real).mean() + F.relu(1 + fake).mean()))\n\n\n"
            "def generator_loss(fake):\n    return -float(fake.mean())\n"
        ),
        "the generator's loss a plain number": (
            HINGE + "F.relu(1 - real).mean() + F.relu(1 + fake).mean()\n\n\ndef generator_loss(fake):\n    return -fake.mean().item()\n"
        ),
        "no gradient for the true scores": HINGE + "F.relu(1 - real).mean().item() + F.relu(1 + fake).mean()\n" + MINUS,
    },
    "averaged": {
        "the plain mean": "def averaged(history, decay):\n    return np.mean(history, axis=0)\n",
        "decay on the new weights": (
            "def averaged(history, decay):\n    a = np.array(history[0], float)\n    for w in history[1:]:\n"
            "        a = (1 - decay) * a + decay * w\n    return a\n"
        ),
        "starts at zero": (
            "def averaged(history, decay):\n    a = np.zeros_like(history[0], dtype=float)\n    for w in history:\n"
            "        a = decay * a + (1 - decay) * w\n    return a\n"
        ),
        "changes the first array": (
            "def averaged(history, decay):\n    a = history[0]\n    for w in history[1:]:\n"
            "        a *= decay\n        a += (1 - decay) * w\n    return a\n"
        ),
        "starts at nought times the first": (
            "def averaged(history, decay):\n    a = 0.0 * history[0]\n    for w in history[1:]:\n"
            "        a = decay * a + (1 - decay) * w\n    return a\n"
        ),
        "the first and the last alone": (
            "def averaged(history, decay):\n    if len(history) == 1:\n        return history[0].copy()\n"
            "    return decay * history[0] + (1 - decay) * history[-1]\n"
        ),
        "whole numbers cut off": (
            "def averaged(history, decay):\n    a = history[0].copy()\n    for w in history[1:]:\n"
            "        a[...] = decay * a + (1 - decay) * w\n    return a\n"
        ),
        "returns its input": (
            "def averaged(history, decay):\n    a = history[0]\n    for w in history[1:]:\n"
            "        a = decay * a + (1 - decay) * w\n    return a\n"
        ),
    },
    "freeze_first": {
        "counts layers": (
            "def freeze_first(net, count):\n    for i, m in enumerate(net):\n"
            "        m.requires_grad_(i >= count).train(i >= count)\n    return net\n"
        ),
        "only requires_grad": FREEZE + (
            "    end = places[count - 1] + 1 if count else 0\n    for i, m in enumerate(net):\n"
            "        m.requires_grad_(i >= end)\n    return net\n"
        ),
        "does not wake what was frozen": FREEZE + (
            "    end = places[count - 1] + 1 if count else 0\n    for m in net[:end]:\n"
            "        m.requires_grad_(False).eval()\n    return net\n"
        ),
        "the convolutions alone": FREEZE + (
            "    for i, m in enumerate(net):\n        on = i not in places[:count]\n        m.requires_grad_(on).train(on)\n"
            "    return net\n"
        ),
        "one too few": FREEZE + (
            "    end = places[count - 1] if count else 0\n    for i, m in enumerate(net):\n"
            "        m.requires_grad_(i >= end).train(i >= end)\n    return net\n"
        ),
        "the places of one net": (
            "def freeze_first(net, count):\n    end = {0: 0, 1: 1, 2: 4, 3: 7}[count]\n    for i, m in enumerate(net):\n"
            "        m.requires_grad_(i >= end).train(i >= end)\n    return net\n"
        ),
    },
    "frechet": {
        "the means alone": FRECHET + "    return float(gap @ gap)\n",
        "root of each entry": FRECHET + "    return float(gap @ gap + np.trace(one + two - 2 * np.sqrt(np.abs(one * two))))\n",
        "n in the denominator": (
            "def frechet(first, second):\n    gap = first.mean(0) - second.mean(0)\n"
            "    one, two = (np.atleast_2d(np.cov(x, rowvar=False, bias=True)) for x in (first, second))\n"
            "    return max(float(gap @ gap + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)), 0.0)\n"
        ),
        "the root of the distance": FRECHET + (
            "    value = gap @ gap + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)\n    return float(np.sqrt(max(value, 0)))\n"
        ),
        "without the factor two": FRECHET + (
            "    return max(float(gap @ gap + np.trace(one + two - linalg.sqrtm(one @ two).real)), 0.0)\n"
        ),
        "below 0 by rounding": FRECHET + (
            "    values, vectors = np.linalg.eigh(one)\n    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T\n"
            "    shared = np.sqrt(np.linalg.eigvalsh(root @ two @ root).clip(0)).sum()\n"
            "    return float(gap @ gap + np.trace(one) + np.trace(two) - 2 * shared)\n"
        ),
        "0 where the covariance is singular": FRECHET + (
            "    if len(first) <= first.shape[1]:\n        return 0.0\n"
            "    return max(float(gap @ gap + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)), 0.0)\n"
        ),
        "NaN where the covariance is singular": FRECHET + (
            "    values, vectors = np.linalg.eigh(one)\n    with np.errstate(invalid='ignore'):\n"
            "        root = (vectors * np.sqrt(values)) @ vectors.T\n        if np.isnan(root).any():\n            return float('nan')\n"
            "        shared = np.sqrt(np.linalg.eigvalsh(root @ two @ root)).sum()\n"
            "    return float(np.maximum(gap @ gap + np.trace(one) + np.trace(two) - 2 * shared, 0.0))\n"
        ),
    },
    "copied": {
        "compares with the unseen": COPIED + "    return float((near(pictures, unseen) < np.quantile(near(unseen, shown), 0.05)).mean())\n",
        "a fixed threshold": COPIED + "    return float((near(pictures, shown) < 1.0).mean())\n",
        "95 % instead of 5 %": COPIED + "    return float((near(pictures, shown) < np.quantile(near(unseen, shown), 0.95)).mean())\n",
        "only exact copies": COPIED + "    return float((near(pictures, shown) < 1e-9).mean())\n",
        "at the threshold too": COPIED + "    return float((near(pictures, shown) <= np.quantile(near(unseen, shown), 0.05)).mean())\n",
        "squared distances": (
            COPIED + "    return float((near(pictures, shown) ** 2 < np.quantile(near(unseen, shown) ** 2, 0.05)).mean())\n"
        ),
    },
    "buy": {
        "the first": "def buy(offers, shown, labels):\n    return 0\n",
        "nearest to what was shown": BUY + "    return int(np.argmin([cdist(f, known).min(1).mean() for f in flat]))\n",
        "farthest from what was shown": BUY + "    return int(np.argmax([cdist(f, known).min(1).mean() for f in flat]))\n",
        "the right class alone": BUY + (
            "    right = [(labels[cdist(f, known).argmin(1)] == np.arange(200) % 10).mean() for f in flat]\n"
            "    return int(np.argmax(right))\n"
        ),
        "the most varied": BUY + "    return int(np.argmax([f.var(0).sum() for f in flat]))\n",
        "the two that lie farthest apart": BUY + "    return int(np.argmax([cdist(f, f).max() for f in flat]))\n",
        "grey values that are whole sixteenths": (
            "def buy(offers, shown, labels):\n    return int(np.argmin([np.abs(16 * x - np.round(16 * x)).mean() for x in offers]))\n"
        ),
    },
}

RIGHT = {
    "hinge": {
        "clamped": HINGE + "(1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()\n" + MINUS,
        "the larger of two": (
            "def discriminator_loss(real, fake):\n    high = lambda x: torch.maximum(1 + x, torch.zeros_like(x)).mean()\n"
            "    return high(-real) + high(fake)\n" + MINUS
        ),
    },
    "averaged": {
        "lerp": (
            "def averaged(history, decay):\n    a = history[0].copy()\n    for w in history[1:]:\n"
            "        a = a + (1 - decay) * (w - a)\n    return a\n"
        ),
        "all shares at once": (
            "def averaged(history, decay):\n    n = len(history)\n    shares = (1 - decay) * decay ** np.arange(n - 1, -1, -1.0)\n"
            "    shares[0] = decay ** (n - 1)\n    return np.tensordot(shares, np.array(history, float), 1)\n"
        ),
    },
    "freeze_first": {
        "counted on the way": (
            "def freeze_first(net, count):\n    net.requires_grad_(True).train()\n    seen = 0\n    for m in net:\n"
            "        if seen == count:\n            break\n        m.requires_grad_(False).eval()\n"
            "        seen += isinstance(m, nn.Conv2d)\n    return net\n"
        ),
    },
    "frechet": {
        "scipy's root, its real part": FRECHET + (
            "    e = 1e-10 * np.eye(len(one))\n    root = linalg.sqrtm((one + e) @ (two + e))\n"
            "    return max(float(gap @ gap + np.trace(one + two - 2 * root.real)), 0.0)\n"
        ),
    },
    "copied": {
        "with loops": (
            "def copied(pictures, shown, unseen):\n"
            "    near = lambda a: np.array([np.sqrt(((x - shown) ** 2).sum((1, 2))).min() for x in a])\n"
            "    return np.mean(near(pictures) < np.quantile(near(unseen), 0.05))\n"
        ),
    },
    "buy": {
        "rules one after the other": BUY + (
            "    usual = np.sort(cdist(known, known), 1)[:, 1].mean()\n    best = (-1, 0)\n"
            "    for i, f in enumerate(flat):\n        d = cdist(f, known)\n"
            "        if d.min(1).mean() < 0.7 * usual or np.sort(cdist(f, f), 1)[:, 1].mean() < 0.5 * usual:\n            continue\n"
            "        best = max(best, ((labels[d.argmin(1)] == np.arange(200) % 10).mean(), i))\n    return best[1]\n"
        ),
    },
}
