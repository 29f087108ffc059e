"""Wrong answers that learners give to the exercises of lesson 10, and right ones that differ from the reference."""

CONTRASTIVE = '''
def contrastive_loss(first, second, temperature):
    n = len(first)
    unit = F.normalize(torch.cat([first, second]), dim=1)
    scores = unit @ unit.T / temperature
    scores = scores.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    return F.cross_entropy(scores, torch.arange(2 * n).roll(n))
'''

RANK = '''
def directions(embedding):
    values = np.linalg.svd(embedding, compute_uv=False)
    if values.sum() == 0:
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
'''

PROBE = '''
def probe(few, labels, pool, test):
    varied = pool.std(0) > 0
    mean, deviation = pool.mean(0)[varied], pool.std(0)[varied]
    model = LogisticRegression(max_iter=1000).fit((few[:, varied] - mean) / deviation, labels)
    return model.predict((test[:, varied] - mean) / deviation)
'''

SIMSIAM = '''
def simsiam_backward(body, predictor, first, second):
    z1, z2 = body(first), body(second)
    towards = F.cosine_similarity(predictor(z1), z2.detach(), dim=1).mean()
    back = F.cosine_similarity(predictor(z2), z1.detach(), dim=1).mean()
    loss = -(towards + back) / 2
    loss.backward()
    return loss.item()
'''

DIAGNOSE = '''
def diagnose(embedding):
    lengths = np.linalg.norm(embedding, axis=1)
    unit = embedding / lengths[:, None]
    centred = embedding - embedding.mean(0)
    if np.sqrt((centred**2).sum(1).mean()) < 0.1 * lengths.mean():
        return "one point"
    if np.sqrt(((unit - unit.mean(0)) ** 2).sum(1).mean()) < 0.1:
        return "one direction"
    return "few directions" if selfsupervised.effective_rank(centred) < 0.3 * embedding.shape[1] else "healthy"
'''

WRONG = {
    "contrastive_loss": {
        "the image itself is a candidate": CONTRASTIVE.replace(
            '    scores = scores.masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))\n', ""
        ),
        "no normalisation": CONTRASTIVE.replace("F.normalize(torch.cat([first, second]), dim=1)", "torch.cat([first, second])"),
        "times the temperature": CONTRASTIVE.replace("/ temperature", "* temperature"),
        "only the other view's images are rivals": (
            "def contrastive_loss(first, second, temperature):\n"
            "    a, b = F.normalize(first, dim=1), F.normalize(second, dim=1)\n"
            "    return F.cross_entropy(a @ b.T / temperature, torch.arange(len(a)))"
        ),
        "only the first view chooses": CONTRASTIVE.replace(
            "F.cross_entropy(scores, torch.arange(2 * n).roll(n))", "F.cross_entropy(scores[:n], torch.arange(n) + n)"
        ),
        "the partner is the neighbour in the batch": CONTRASTIVE.replace(".roll(n)", ".roll(1)"),
        "a number without a gradient": CONTRASTIVE.replace(".roll(n))", ".roll(n)).item()"),
        "the sum": CONTRASTIVE.replace(".roll(n))", ".roll(n), reduction='sum')"),
    },
    "directions": {
        "log of zero": RANK.replace("[values > 0]", ""),
        "shares of the squares": RANK.replace("compute_uv=False)", "compute_uv=False) ** 2"),
        "bits": RANK.replace("np.log(", "np.log2("),
        "the ordinary rank": "def directions(embedding):\n    return float(np.linalg.matrix_rank(embedding))",
        "the entropy itself": RANK.replace("float(np.exp(-(shares * np.log(shares)).sum()))", "float(-(shares * np.log(shares)).sum())"),
        "centred": RANK.replace("svd(embedding,", "svd(embedding - embedding.mean(0),"),
        "zeros divide by zero": RANK.replace("    if values.sum() == 0:\n        return 0.0\n", ""),
    },
    "probe": {
        "standardised by the labelled images": (
            "def probe(few, labels, pool, test):\n    mean, deviation = few.mean(0), few.std(0) + 1e-12\n"
            "    return LogisticRegression().fit((few - mean) / deviation, labels).predict((test - mean) / deviation)"
        ),
        "standardised by all images": (
            "def probe(few, labels, pool, test):\n    rows = np.concatenate([few, pool, test])\n"
            "    mean, deviation = rows.mean(0), rows.std(0) + 1e-12\n"
            "    return LogisticRegression().fit((few - mean) / deviation, labels).predict((test - mean) / deviation)"
        ),
        "the test set by itself": PROBE.replace(
            "model.predict((test[:, varied] - mean) / deviation)",
            "model.predict((test[:, varied] - test[:, varied].mean(0)) / (test[:, varied].std(0) + 1e-9))",
        ),
        "divides by zero": (
            "def probe(few, labels, pool, test):\n    mean, deviation = pool.mean(0), pool.std(0)\n"
            "    return LogisticRegression().fit((few - mean) / deviation, labels).predict((test - mean) / deviation)"
        ),
        "a constant feature is blown up": (
            "def probe(few, labels, pool, test):\n    mean, deviation = pool.mean(0), pool.std(0) + 1e-12\n"
            "    few, test = (few - mean) / deviation, (test - mean) / deviation\n"
            "    model = LogisticRegression().fit(few + 1e-9, labels)\n"
            "    return np.where(np.abs(test).max(1) > 1e6, labels[0], model.predict(test))"
        ),
        "not standardised": "def probe(few, labels, pool, test):\n"
        "    return LogisticRegression().fit(few * [1, 1000, 1][:few.shape[1]], labels)"
        ".predict(test * [1, 1000, 1][:few.shape[1]])",
    },
    "simsiam_backward": {
        "no stop-gradient": SIMSIAM.replace(".detach()", ""),
        "the predictions are detached": SIMSIAM.replace(".detach()", "").replace("predictor(z1)", "predictor(z1).detach()")
        .replace("predictor(z2)", "predictor(z2).detach()"),
        "one side only": SIMSIAM.replace("-(towards + back) / 2", "-towards"),
        "compared with its own z": SIMSIAM.replace("z2.detach()", "zz").replace("z1.detach()", "z2.detach()").replace("zz", "z1.detach()"),
        "forgets backward": SIMSIAM.replace("    loss.backward()\n", ""),
        "the wrong sign": SIMSIAM.replace("-(towards + back) / 2", "(towards + back) / 2"),
        "the body is detached everywhere": SIMSIAM.replace("body(first), body(second)", "body(first).detach(), body(second).detach()"),
    },
    "diagnose": {
        "the rank alone": (
            "def diagnose(embedding):\n    rank = selfsupervised.effective_rank(embedding)\n"
            "    return 'one point' if rank < 1.5 else 'few directions' if rank < 0.3 * embedding.shape[1] else 'healthy'"
        ),
        "always healthy": "def diagnose(embedding):\n    return 'healthy'",
        "the ordinary rank": DIAGNOSE.replace("selfsupervised.effective_rank(centred)", "np.linalg.matrix_rank(centred)"),
        "an absolute limit": DIAGNOSE.replace("0.1 * lengths.mean()", "0.1"),
        "the rank first": DIAGNOSE.replace(
            "    if np.sqrt((centred",
            "    if selfsupervised.effective_rank(centred) > 0.3 * len(centred[0]):\n        return 'healthy'\n    if np.sqrt((centred",
        ),
    },
    "choose_encoder": {
        "the highest rank": (
            "def choose_encoder(first, second):\n"
            "    return max(first, key=lambda name: selfsupervised.effective_rank(first[name] - first[name].mean(0)))"
        ),
        "the views closest to each other, without the others": (
            "def choose_encoder(first, second):\n    def close(name):\n        a, b = first[name], second[name]\n"
            "        return ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean()\n"
            "    return max(first, key=close)"
        ),
        "the smallest squared distance": (
            "def choose_encoder(first, second):\n"
            "    return min(first, key=lambda name: ((first[name] - second[name]) ** 2).mean())"
        ),
        "always the self-supervised one": "def choose_encoder(first, second):\n    return 'self-supervised'",
        "always letters": "def choose_encoder(first, second):\n    return 'letters'",
        "an index": "def choose_encoder(first, second):\n    return 0",
    },
}

RIGHT = {
    "contrastive_loss": {
        "pair by pair": (
            "def contrastive_loss(first, second, temperature):\n    rows = torch.cat([first, second])\n"
            "    n, total = len(first), 0\n"
            "    for i in range(2 * n):\n        s = F.cosine_similarity(rows[i][None], rows) / temperature\n"
            "        others = torch.cat([s[:i], s[i + 1:]])\n"
            "        total = total + torch.logsumexp(others, 0) - s[(i + n) % (2 * n)]\n"
            "    return total / (2 * n)"
        ),
    },
    "directions": {
        "with a tiny number in the logarithm": RANK.replace("[values > 0]", "").replace("np.log(shares)", "np.log(shares + 1e-12)"),
        "by the matrix of products": (
            "def directions(embedding):\n    values = np.sqrt(np.clip(np.linalg.eigvalsh(embedding.T @ embedding), 0, None))\n"
            "    values = values[values > 1e-6 * values.max()] if values.max() > 0 else values[:0]\n    if not len(values):\n"
            "        return 0.0\n"
            "    p = values / values.sum()\n    return float(np.exp(-np.sum(p * np.log(p))))"
        ),
    },
    "probe": {
        "a StandardScaler fitted on the pool, constant features set to 0": (
            "def probe(few, labels, pool, test):\n    from sklearn.preprocessing import StandardScaler\n"
            "    scaler = StandardScaler().fit(pool)\n"
            "    varied = (pool.std(0) > 0).astype(float)\n"
            "    model = LogisticRegression().fit(scaler.transform(few) * varied, labels)\n"
            "    return model.predict(scaler.transform(test) * varied)"
        ),
    },
    "simsiam_backward": {
        "targets without gradients": (
            "def simsiam_backward(body, predictor, first, second):\n    with torch.no_grad():\n"
            "        t1, t2 = body(first), body(second)\n"
            "    p1, p2 = (F.normalize(predictor(body(v)), dim=1) for v in (first, second))\n"
            "    t1, t2 = F.normalize(t1, dim=1), F.normalize(t2, dim=1)\n"
            "    loss = -((p1 * t2).sum(1).mean() + (p2 * t1).sum(1).mean()) / 2\n    loss.backward()\n    return float(loss)"
        ),
    },
    "diagnose": {
        "by mean cosines and the covariance's eigenvalues": (
            "def diagnose(embedding):\n    mean = embedding.mean(0)\n    spread = embedding.var(0).sum()\n"
            "    if spread < 0.01 * (mean @ mean):\n        return 'one point'\n"
            "    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)\n"
            "    if np.linalg.norm(unit.mean(0)) > 0.99:\n        return 'one direction'\n"
            "    values = np.linalg.eigvalsh(np.cov(embedding.T))\n"
            "    return 'few directions' if values.sum() ** 2 / (values**2).sum() < 0.25 * len(values) else 'healthy'"
        ),
    },
    "choose_encoder": {
        "the mean cosine after centring": (
            "def choose_encoder(first, second):\n    def alike(name):\n"
            "        a, b = np.split(selfsupervised.scaled(np.concatenate([first[name], second[name]])), 2)\n"
            "        return (a * b).mean()\n    return max(first, key=alike)"
        ),
        "SimCLR's loss of the scaled embeddings": (
            "def choose_encoder(first, second):\n    def loss(name):\n"
            "        both = selfsupervised.scaled(np.concatenate([first[name], second[name]]))\n"
            "        return selfsupervised.nt_xent(*torch.from_numpy(both).chunk(2)).item()\n    return min(first, key=loss)"
        ),
    },
}
