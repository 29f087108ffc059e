"""Answers to the exercises of lesson 13: wrong ones that learners really give, and other right ones."""

STEP = (
    "def lora_step(x, y, weight, down, up, alpha, rate):\n"
    "    a, b = down.clone().requires_grad_(), up.clone().requires_grad_()\n"
)
OUT = "    out = x @ weight.T + alpha / len(down) * (x @ a.T) @ b.T\n"
LOSS = "    loss = (out - y).square().mean()\n    ga, gb = torch.autograd.grad(loss, (a, b))\n"
MOVE = "    return loss.item(), (a - rate * ga).detach(), (b - rate * gb).detach()"
MERGE = "def merge(weight, down, up, alpha, sign=1):\n"
CHECKS = (
    "    if len(down) != up.shape[1] or sign not in (1, -1):\n        raise ValueError('rank or sign')\n"
)
RATES = "def layer_rates(names, rate, head_rate, decay):\n"
KNOWN = (
    "    for n in names:\n        if not n.startswith(('encoder.layer.', 'embeddings.', 'classifier.')):\n            raise ValueError(n)\n"
)
REST = "            out[n] = {0} if n[0] == 'c' else {1}\n    return out"
BODY = "    out = {}\n    for n in names:\n        if n in depth:\n            out[n] = {0}\n        else:\n"
DOWN = "rate * decay ** (last - depth[n])"
DEPTHS = (
    "    depth = {n: int(n.split('.')[2]) for n in names if n.startswith('encoder.layer.')}\n    last = max(depth.values())\n"
)
LAYERS = RATES + KNOWN + DEPTHS + BODY
BEST = (
    "    best, most = 'probe', 0\n    for arm in accuracies:\n"
    "        d = np.asarray(accuracies[arm]) - np.asarray(accuracies['probe'])\n"
)
KEEP = "        if value > most:\n            best, most = arm, value\n    return best"
FIT = (
    "def label_target(x, y, target):\n    def fit(a, b, c=1):\n        return LogisticRegression(C=c, max_iter=300).fit(a, b)\n"
    "    model = fit(x, y)\n"
)

WRONG = {
    "lora_step": {
        "alpha is not divided by the rank": STEP + "    out = x @ weight.T + alpha * (x @ a.T) @ b.T\n" + LOSS + MOVE,
        "the sum instead of the mean": STEP + OUT + LOSS.replace("mean", "sum") + MOVE,
        "uphill": STEP + OUT + LOSS + MOVE.replace("- rate", "+ rate"),
        "only up moves": STEP + OUT + LOSS + MOVE.replace("(a - rate * ga).detach()", "down"),
        "in place": STEP.replace(".clone()", ".detach()") + OUT + LOSS + (
            "    with torch.no_grad():\n        a -= rate * ga\n        b -= rate * gb\n    return loss.item(), a.detach(), b.detach()"
        ),
        "the loss after the step": STEP + OUT + LOSS + (
            "    a, b = (a - rate * ga).detach(), (b - rate * gb).detach()\n"
        ) + OUT + "    return (out - y).square().mean().item(), a, b",
        "only the correction": STEP + OUT.replace("x @ weight.T + ", "") + LOSS + MOVE,
    },
    "merge": {
        "no scale": MERGE + CHECKS + "    return (weight + sign * up @ down).detach()",
        "the sign is ignored": MERGE + CHECKS + "    return (weight + alpha / len(down) * up @ down).detach()",
        "in place": MERGE + CHECKS + "    weight += (sign * alpha / len(down) * up @ down).detach()\n    return weight",
        "divided by the number of inputs": MERGE + CHECKS + "    return weight + sign * alpha / down.shape[1] * up @ down",
        "nothing is checked": MERGE + "    return (weight + sign * alpha / len(down) * up @ down).detach()",
        "the sign is not checked": MERGE + CHECKS.replace(" or sign not in (1, -1)", "") + (
            "    return (weight + sign * alpha / len(down) * up @ down).detach()"
        ),
    },
    "layer_rates": {
        "the first layer gets the rate": LAYERS.replace("{0}", "rate * decay ** depth[n]") + (
            REST.format("head_rate", "rate * decay ** (last + 1)")
        ),
        "the embeddings move like layer 0": LAYERS.replace("{0}", DOWN) + REST.format("head_rate", "rate * decay ** last"),
        "the classifier gets the body's rate": LAYERS.replace("{0}", DOWN) + REST.format("rate", "rate * decay ** (last + 1)"),
        "layers are sorted as text": RATES + KNOWN + (
            "    layers = sorted({n.split('.')[2] for n in names if n.startswith('encoder.layer.')})\n    out = {}\n"
            "    for n in names:\n        if n[:2] == 'en':\n"
            "            out[n] = rate * decay ** (len(layers) - 1 - layers.index(n.split('.')[2]))\n"
            "        else:\n            out[n] = head_rate if n[0] == 'c' else rate * decay ** len(layers)\n    return out"
        ),
        "six layers, always": (
            LAYERS.replace("max(depth.values())", "5").replace("{0}", DOWN) + REST.format("head_rate", "rate * decay ** 6")
        ),
        "unknown names are left out": RATES + DEPTHS + (
            "    out = {n: rate * decay ** (last - depth[n]) for n in depth}\n"
            "    out |= {n: rate * decay ** (last + 1) for n in names if n.startswith('embeddings.')}\n"
            "    return out | {n: head_rate for n in names if n.startswith('classifier.')}"
        ),
    },
    "decide": {
        "always the probe": "def decide(accuracies, price):\n    return 'probe'",
        "always LoRA": "def decide(accuracies, price):\n    return 'LoRA'",
        "the best mean": "def decide(accuracies, price):\n    return max(accuracies, key=lambda arm: np.mean(accuracies[arm]))",
        "the best mean less the price": (
            "def decide(accuracies, price):\n"
            "    return max(accuracies, key=lambda arm: np.mean(accuracies[arm]) - price * (arm != 'probe'))"
        ),
        "the best single seed": "def decide(accuracies, price):\n    return max(accuracies, key=lambda arm: np.max(accuracies[arm]))",
        "errors that are not paired": "def decide(accuracies, price):\n" + BEST + (
            "        error = np.sqrt((np.var(accuracies[arm], ddof=1) + np.var(accuracies['probe'], ddof=1)) / 5)\n"
            "        value = d.mean() - 2 * error - price\n"
        ) + KEEP,
        "five standard errors": "def decide(accuracies, price):\n" + BEST + (
            "        value = d.mean() - 5 * d.std(ddof=1) / np.sqrt(5) - price\n"
        ) + KEEP,
    },
    "label_target": {
        "the probe": FIT + "    return model.predict(target)",
        "centring": "def label_target(x, y, target):\n" + (
            "    model = LogisticRegression(C=1, max_iter=300).fit(x - x.mean(0), y)\n    return model.predict(target - target.mean(0))"
        ),
        "standardising each side": "def label_target(x, y, target):\n" + (
            "    unit = lambda a: (a - a.mean(0)) / (a.std(0) + 1e-3)\n"
            "    return LogisticRegression(C=0.01, max_iter=300).fit(unit(x), y).predict(unit(target))"
        ),
        "all topics are forced to be equally frequent": FIT + (
            "    p = model.predict_proba(target)\n    for _ in range(50):\n        p = p / p.sum(0) * len(p) / p.shape[1]\n"
            "        p = p / p.sum(1, keepdims=True)\n    return model.classes_[p.argmax(1)]"
        ),
        "the surest of all together": FIT + (
            "    for share in (0.2, 0.4, 0.6, 0.8, 1.0):\n        p = model.predict_proba(target)\n"
            "        s = np.argsort(-p.max(1))[: int(share * len(p))]\n"
            "        model = fit(np.concatenate([x, target[s]]), np.concatenate([y, model.classes_[p[s].argmax(1)]]))\n"
            "    return model.predict(target)"
        ),
        "another C": FIT.replace("model = fit(x, y)", "model = fit(x, y, 10)") + "    return model.predict(target)",
        "places instead of labels, of the wrong length": FIT + "    return model.predict(target)[:100]",
    },
}

RIGHT = {
    "lora_step": {
        "by formula, without autograd": (
            "def lora_step(x, y, weight, down, up, alpha, rate):\n    c = alpha / down.shape[0]\n    low = x @ down.T\n"
            "    gap = x @ weight.T + c * low @ up.T - y\n    g = 2 * c / gap.numel() * gap\n"
            "    return float((gap ** 2).mean()), down - rate * (g @ up).T @ x, up - rate * g.T @ low"
        ),
        "with an optimiser": STEP + OUT + (
            "    loss = torch.nn.functional.mse_loss(out, y)\n    optimizer = torch.optim.SGD([a, b], lr=rate)\n    loss.backward()\n"
            "    optimizer.step()\n    return loss.detach(), a.detach(), b.detach()"
        ),
    },
    "merge": {
        "with einsum, in no_grad": MERGE + CHECKS + (
            "    with torch.no_grad():\n        change = torch.einsum('dr,rk->dk', up, down)\n"
            "        return torch.add(weight, change, alpha=sign * alpha / down.shape[0])"
        ),
    },
    "layer_rates": {
        "from the top down": RATES + KNOWN + DEPTHS + (
            "    out = {n: head_rate for n in names if n.startswith('classifier.')}\n    value = rate\n"
            "    for place in range(last, -1, -1):\n        out |= {n: value for n in depth if depth[n] == place}\n        value *= decay\n"
            "    return out | {n: value for n in names if n.startswith('embeddings.')}"
        ),
    },
    "decide": {
        "half an error more": "def decide(accuracies, price):\n" + BEST + (
            "        value = d.mean() - 1.5 * d.std(ddof=1) / np.sqrt(len(d)) - price\n"
        ) + KEEP,
        "the best, if it leads by three points and the price": (
            "def decide(accuracies, price):\n    means = {arm: np.mean(values) for arm, values in accuracies.items()}\n"
            "    best = max(means, key=means.get)\n    return best if means[best] - means['probe'] > price + 0.02 else 'probe'"
        ),
    },
    "label_target": {
        "three rounds with other shares": FIT + (
            "    for share in (0.3, 0.6, 0.9):\n        p = model.predict_proba(target)\n        guess = p.argmax(1)\n        kept = []\n"
            "        for c in np.unique(guess):\n            own = np.flatnonzero(guess == c)\n"
            "            kept += list(own[np.argsort(-p[own].max(1))][: max(1, int(share * len(own)))])\n"
            "        model = fit(np.concatenate([x, target[kept]]), np.concatenate([y, model.classes_[guess[kept]]]))\n"
            "    return list(model.predict(target))"
        ),
    },
}
