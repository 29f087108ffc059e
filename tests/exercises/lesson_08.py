"""Wrong answers that learners give to the exercises of lesson 08, and right ones that differ from the reference."""

STEP = '''def adversarial_gradients(body, critic, images, is_source, weight):
    loss = F.binary_cross_entropy_with_logits(critic(body(images)).squeeze(1), is_source)
    of_body = torch.autograd.grad(loss, list(body.parameters()), retain_graph=True)
    of_critic = torch.autograd.grad(loss, list(critic.parameters()))
    return [-weight * g for g in of_body], list(of_critic)
'''
CORAL = '''def coral(source, target, ridge):
    def power(features, exponent):
        covariance = np.atleast_2d(np.cov(features, rowvar=False)) + ridge * np.eye(features.shape[1])
        values, vectors = np.linalg.eigh(covariance)
        return (vectors * values**exponent) @ vectors.T

    mean = source.mean(0)
    return (source - mean) @ power(source, -0.5) @ power(target, 0.5) + mean
'''
SUREST = '''def surest(guesses, share, least):
    predicted, sure = guesses.argmax(1), guesses.max(1)
    kept = []
    for c in np.unique(predicted):
        members = np.flatnonzero(predicted == c)
        best = members[np.argsort(-sure[members])][: max(1, int(share * len(members)))]
        kept.extend(best[sure[best] >= least].tolist())
    return sorted(kept)
'''
LISTEN = '''def listen(guesses, neighbours, stay, rounds):
    opinions = guesses
    for _ in range(rounds):
        opinions = (1 - stay) * opinions[neighbours].mean(1) + stay * guesses
    return opinions
'''
BY_SCORE = "def choose_run(candidates, clusters):\n    return max(candidates, key=lambda name: {score})"

WRONG = {
    "adversarial_gradients": {
        "nothing is reversed": STEP.replace("-weight * g", "weight * g"),
        "the critic is weighted too": STEP.replace("list(of_critic)", "[weight * g for g in of_critic]"),
        "the critic is reversed too": STEP.replace("list(of_critic)", "[-g for g in of_critic]"),
        "the weight is forgotten": STEP.replace("-weight * g", "-g"),
        "one list": STEP.replace("of_body], list(of_critic)", "of_body] + list(of_critic)"),
        "a sum instead of a mean": STEP.replace("squeeze(1), is_source", "squeeze(1), is_source, reduction='sum'"),
        "takes a step": STEP.replace(
            "    return",
            "    with torch.no_grad():\n        for p, g in zip(body.parameters(), of_body):\n            p -= 0.1 * g\n    return",
        ),
    },
    "coral": {
        "colours, then whitens": CORAL.replace("power(source, -0.5) @ power(target, 0.5)", "power(target, 0.5) @ power(source, -0.5)"),
        "the target's mean": CORAL.replace("power(target, 0.5) + mean", "power(target, 0.5) + target.mean(0)"),
        "only whitens": CORAL.replace(" @ power(target, 0.5)", ""),
        "forgets the ridge": CORAL.replace(" + ridge * np.eye(features.shape[1])", ""),
        "the mean stays in": CORAL.replace("(source - mean) @", "source @"),
        "features one by one": (
            "def coral(source, target, ridge):\n    scale = np.sqrt((target.var(0, ddof=1) + ridge) / (source.var(0, ddof=1) + ridge))\n"
            "    return (source - source.mean(0)) * scale + source.mean(0)"
        ),
        "Cholesky": (
            "def coral(source, target, ridge):\n    d = source.shape[1]\n"
            "    a, b = (np.linalg.cholesky(np.atleast_2d(np.cov(x.T)) + ridge * np.eye(d)) for x in (source, target))\n"
            "    return (source - source.mean(0)) @ np.linalg.inv(a).T @ b.T + source.mean(0)"
        ),
        "in place": CORAL.replace("    return (source - mean) @", "    source -= mean\n    return source @"),
    },
    "surest": {
        "the surest of all": (
            "def surest(guesses, share, least):\n    sure = guesses.max(1)\n"
            "    best = np.argsort(-sure)[: max(1, int(share * len(sure)))]\n    return sorted(int(i) for i in best if sure[i] >= least)"
        ),
        "only the threshold": "def surest(guesses, share, least):\n    return np.flatnonzero(guesses.max(1) >= least)",
        "no image of a small class": SUREST.replace("max(1, int(share * len(members)))", "int(share * len(members))"),
        "rounds up": SUREST.replace("int(share * len(members))", "int(np.ceil(share * len(members)))"),
        "the least sure": SUREST.replace("-sure[members]", "sure[members]"),
        "not sorted": SUREST.replace("sorted(kept)", "kept"),
        "threshold first": SUREST.replace("np.flatnonzero(predicted == c)", "np.flatnonzero((predicted == c) & (sure >= least))"),
        "forgets the threshold": SUREST.replace("best[sure[best] >= least]", "best"),
    },
    "listen": {
        "forgets the first guess": LISTEN.replace("stay * guesses", "stay * opinions"),
        "shares swapped": LISTEN.replace("(1 - stay) *", "stay *").replace("+ stay * guesses", "+ (1 - stay) * guesses"),
        "always the first guesses": LISTEN.replace("opinions[neighbours]", "guesses[neighbours]"),
        "the sum of the neighbours": LISTEN.replace(".mean(1)", ".sum(1)"),
        "one image after the other": (
            "def listen(guesses, neighbours, stay, rounds):\n    opinions = guesses.copy()\n    for _ in range(rounds):\n"
            "        for i in range(len(opinions)):\n"
            "            opinions[i] = (1 - stay) * opinions[neighbours[i]].mean(0) + stay * guesses[i]\n    return opinions"
        ),
        "one round": LISTEN.replace("range(rounds)", "range(1)"),
        "in place": (
            "def listen(guesses, neighbours, stay, rounds):\n    first = guesses.copy()\n    for _ in range(rounds):\n"
            "        guesses[:] = (1 - stay) * guesses[neighbours].mean(1) + stay * first\n    return guesses"
        ),
    },
    "choose_run": {
        "the surest": BY_SCORE.format(score="candidates[name].max(1).mean()"),
        "sure and diverse": (
            "def choose_run(candidates, clusters):\n    def entropy(p):\n        return -(p * np.log(p + 1e-9)).sum(-1)\n"
            "    return max(candidates, key=lambda n: entropy(candidates[n].mean(0)) - entropy(candidates[n]).mean())"
        ),
        "the first": "def choose_run(candidates, clusters):\n    return min(candidates)",
        "the last": "def choose_run(candidates, clusters):\n    return max(candidates)",
        "numbers of clusters taken for classes": BY_SCORE.format(score="(candidates[name].argmax(1) == clusters).mean()"),
        "the largest singular values": BY_SCORE.format(score="np.linalg.svd(candidates[name], compute_uv=False).sum()"),
        "purity of the classes, which one class for all makes easy": BY_SCORE.format(
            score="sum(np.bincount(candidates[name].argmax(1)[clusters == c]).max() for c in range(10))"
        ),
        "a number": "def choose_run(candidates, clusters):\n    return 0",
    },
}

RIGHT = {
    "adversarial_gradients": {
        "by backward": (
            "def adversarial_gradients(body, critic, images, is_source, weight):\n    import copy\n"
            "    body, critic = copy.deepcopy(body), copy.deepcopy(critic)\n"
            "    F.binary_cross_entropy(torch.sigmoid(critic(body(images)))[:, 0], is_source).backward()\n"
            "    return tuple(-weight * p.grad for p in body.parameters()), tuple(p.grad for p in critic.parameters())"
        ),
        "with a layer that reverses": (
            "from helpers.adaptation.adversarial import reverse_gradient\n\n"
            "def adversarial_gradients(body, critic, images, is_source, weight):\n"
            "    logits = critic(reverse_gradient(body(images), weight))\n"
            "    loss = F.binary_cross_entropy_with_logits(logits, is_source[:, None])\n"
            "    groups = [list(body.parameters()), list(critic.parameters())]\n"
            "    return [list(torch.autograd.grad(loss, group, retain_graph=True)) for group in groups]"
        ),
    },
    "coral": {
        "the course's own": (
            "from helpers.adaptation.coral import coral_transform\n\n"
            "def coral(source, target, ridge):\n    return coral_transform(source, target, ridge)"
        ),
        "singular values": CORAL.replace("values, vectors = np.linalg.eigh(covariance)", "vectors, values, _ = np.linalg.svd(covariance)"),
    },
    "surest": {
        "an array by a mask": (
            "def surest(guesses, share, least):\n    predicted, sure = guesses.argmax(1), guesses.max(1)\n"
            "    mask = np.zeros(len(sure), bool)\n    for c in range(guesses.shape[1]):\n        own = predicted == c\n"
            "        if own.any():\n            count = max(1, int(own.sum() * share))\n"
            "            mask |= own & (sure >= np.sort(sure[own])[-count])\n    return np.where(mask & (sure >= least))[0]"
        ),
    },
    "listen": {
        "a loop over images": (
            "def listen(guesses, neighbours, stay, rounds):\n    now = guesses.copy()\n    for _ in range(rounds):\n"
            "        now = np.array([(1 - stay) * now[near].mean(0) + stay * own for near, own in zip(neighbours, guesses)])\n"
            "    return now"
        ),
    },
    "choose_run": {
        "normalised mutual information": (
            "def choose_run(candidates, clusters):\n    from sklearn.metrics import normalized_mutual_info_score as score\n"
            "    return max(candidates, key=lambda name: score(clusters, candidates[name].argmax(1)))"
        ),
        "adjusted Rand index": (
            "def choose_run(candidates, clusters):\n    from sklearn.metrics import adjusted_rand_score\n"
            "    return max(candidates, key=lambda name: adjusted_rand_score(clusters, candidates[name].argmax(1)))"
        ),
    },
}
