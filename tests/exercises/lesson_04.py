"""Wrong answers that learners give to the exercises of lesson 04, and right ones that differ from the reference."""

GROUPS = "def parameter_groups(model, rates, head_rate):\n"
UNFREEZE = "def unfreeze_last(model, count):\n"
CHECK = "    if not 0 <= count <= len(model.features):\n        raise ValueError('count')\n"
MOVED = "def moved_by_a_step(model, optimizer, inputs, labels):\n"
CLONES = "    before = {n: t.clone() for n, t in model.state_dict().items()}\n"
STEP = "    optimizer.zero_grad()\n    F.cross_entropy(model(inputs), labels).backward()\n    optimizer.step()\n"
COMPARE = "    return [n for n, t in model.state_dict().items() if {}]"
L2_SP = "def l2_sp_backward(model, inputs, labels, start, strength):\n    loss = F.cross_entropy(model(inputs), labels)\n"
RATE = "def learning_rate(step, steps, warm, peak):\n"
UNIT = "def choose_unit(model, images, labels, budget):\n"
SIZES = (
    "    sizes = {n: sum(p.numel() for p in u.parameters()) for n, u in finetuning.units(model).items()}\n"
    "    fits = [None] + [n for n, size in sizes.items() if size <= budget]\n"
)

WRONG = {
    "parameter_groups": {
        "frozen parameters kept": (
            GROUPS + "    parts = [*model.features, model.classifier]\n"
            "    return [{'params': list(m.parameters()), 'lr': r} for m, r in zip(parts, [*rates, head_rate])]"
        ),
        "rates in the wrong order": (
            GROUPS + "    parts = [*reversed(model.features), model.classifier]\n"
            "    groups = [{'params': [p for p in m.parameters() if p.requires_grad], 'lr': r}"
            " for m, r in zip(parts, [*rates, head_rate])]\n    return [g for g in groups if g['params']]"
        ),
        "one group for the whole body": (
            GROUPS + "    return [{'params': [p for p in model.features.parameters() if p.requires_grad], 'lr': rates[0]},"
            " {'params': list(model.classifier.parameters()), 'lr': head_rate}]"
        ),
        "the classifier twice": (
            GROUPS + "    groups = [{'params': [p for p in m.parameters() if p.requires_grad], 'lr': r}"
            " for m, r in zip(model.features, rates)]\n    groups.append({'params': list(model.parameters()), 'lr': head_rate})\n"
            "    return [g for g in groups if g['params']]"
        ),
        "an empty group": (
            GROUPS + "    parts = [*model.features, model.classifier]\n"
            "    return [{'params': [p for p in m.parameters() if p.requires_grad], 'lr': r} for m, r in zip(parts, [*rates, head_rate])]"
            " + [{'params': [], 'lr': 0.0}]"
        ),
        "without the classifier": (
            GROUPS + "    groups = [{'params': [p for p in m.parameters() if p.requires_grad], 'lr': r}"
            " for m, r in zip(model.features, rates)]\n    return [g for g in groups if g['params']]"
        ),
    },
    "unfreeze_last": {
        "the classifier is left as it is": (
            UNFREEZE + CHECK + "    for i, m in enumerate(model.features):\n"
            "        m.requires_grad_(i >= len(model.features) - count).train(i >= len(model.features) - count)\n    return model"
        ),
        "counts with a negative slice": (
            UNFREEZE + CHECK + "    model.requires_grad_(False).eval()\n    for m in [*list(model.features)[-count:], model.classifier]:\n"
            "        m.requires_grad_(True).train()\n    return model"
        ),
        "does not thaw": (
            UNFREEZE + CHECK + "    for m in list(model.features)[:len(model.features) - count]:\n        m.requires_grad_(False).eval()\n"
            "    return model"
        ),
        "gradients only": (
            UNFREEZE + CHECK + "    model.requires_grad_(False)\n    steps = list(model.features)\n"
            "    for m in [*steps[len(steps) - count:], model.classifier]:\n        m.requires_grad_(True)\n    return model"
        ),
        "counts from the input": (
            UNFREEZE + CHECK + "    model.requires_grad_(False).eval()\n    for m in [*list(model.features)[:count], model.classifier]:\n"
            "        m.requires_grad_(True).train()\n    return model"
        ),
        "accepts any depth": (
            UNFREEZE + "    model.requires_grad_(False).eval()\n    steps = list(model.features)\n"
            "    for m in [*steps[max(len(steps) - count, 0):], model.classifier]:\n"
            "        m.requires_grad_(True).train()\n    return model"
        ),
        "returns nothing": UNFREEZE + CHECK + "    model.requires_grad_(True)",
    },
    "moved_by_a_step": {
        "the snapshot shares memory": (
            MOVED + "    before = dict(model.state_dict())\n" + STEP + COMPARE.format("not torch.equal(t, before[n])")
        ),
        "close instead of equal": MOVED + CLONES + STEP + COMPARE.format("not torch.allclose(t.float(), before[n].float(), atol=1e-3)"),
        "parameters only": (
            MOVED + CLONES + STEP + "    return [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]"
        ),
        "old gradients stay": (
            MOVED + CLONES + STEP.replace("    optimizer.zero_grad()\n", "") + COMPARE.format("not torch.equal(t, before[n])")
        ),
        "names what stayed": MOVED + CLONES + STEP + COMPARE.format("torch.equal(t, before[n])"),
        "names what can be trained": MOVED + STEP + "    return [n for n, p in model.named_parameters() if p.requires_grad]",
        "switches to training mode": MOVED + CLONES + "    model.train()\n" + STEP + COMPARE.format("not torch.equal(t, before[n])"),
        "forgets the step": (
            MOVED + CLONES + "    F.cross_entropy(model(inputs), labels).backward()\n" + COMPARE.format("not torch.equal(t, before[n])")
        ),
    },
    "l2_sp_backward": {
        "plain weight decay": (
            L2_SP + "    loss = loss + strength / 2 * sum((p ** 2).sum() for n, p in model.named_parameters() if n in start"
            " and n.startswith('features'))\n    loss.backward()\n    return loss.item()"
        ),
        "the classifier is pulled too": (
            L2_SP + "    loss = loss + strength / 2 * sum(((p - start[n]) ** 2).sum() for n, p in model.named_parameters())\n"
            "    loss.backward()\n    return loss.item()"
        ),
        "without the half": (
            L2_SP + "    loss = loss + strength * sum(((p - start[n]) ** 2).sum() for n, p in model.named_parameters()"
            " if n.startswith('features'))\n    loss.backward()\n    return loss.item()"
        ),
        "mean instead of sum": (
            L2_SP + "    loss = loss + strength / 2 * sum(((p - start[n]) ** 2).mean() for n, p in model.named_parameters()"
            " if n.startswith('features'))\n    loss.backward()\n    return loss.item()"
        ),
        "the penalty is detached": (
            L2_SP + "    body = {n: p.detach() for n, p in model.named_parameters() if n.startswith('features')}\n"
            "    pull = sum(((p - start[n]) ** 2).sum() for n, p in body.items())\n"
            "    loss = loss + strength / 2 * pull\n    loss.backward()\n    return loss.item()"
        ),
        "no backward": (
            L2_SP + "    loss = loss + strength / 2 * sum(((p - start[n]) ** 2).sum() for n, p in model.named_parameters()"
            " if n.startswith('features'))\n    return loss.item()"
        ),
        "only the weights": (
            L2_SP + "    loss = loss + strength / 2 * sum(((p - start[n]) ** 2).sum() for n, p in model.named_parameters()"
            " if n.startswith('features') and n.endswith('weight'))\n    loss.backward()\n    return loss.item()"
        ),
    },
    "learning_rate": {
        "starts at 0": (
            RATE + "    if step < warm:\n        return peak * step / warm\n    before = max(warm - 1, 0)\n"
            "    return peak * (1 + math.cos(math.pi * (step - before) / (steps - before))) / 2"
        ),
        "the cosine runs from the first step": (
            RATE + "    if step < warm:\n        return peak * (step + 1) / warm\n"
            "    return peak * (1 + math.cos(math.pi * step / steps)) / 2"
        ),
        "falls in a line": (
            RATE + "    if step < warm:\n        return peak * (step + 1) / warm\n    before = max(warm - 1, 0)\n"
            "    return peak * (1 - (step - before) / (steps - before))"
        ),
        "no warm-up": RATE + "    return peak * (1 + math.cos(math.pi * step / steps)) / 2",
        "forgets the peak": (
            RATE + "    if step < warm:\n        return (step + 1) / warm\n    before = max(warm - 1, 0)\n"
            "    return (1 + math.cos(math.pi * (step - before) / (steps - before))) / 2"
        ),
    },
    "choose_unit": {
        "always the classifier alone": UNIT + "    return None",
        "the largest that fits": UNIT + SIZES + "    return max(fits[1:], key=sizes.get)",
        "the last one that fits": UNIT + SIZES + "    return fits[-1]",
        "over the budget": UNIT + "    return 'features.7'",
        "the best on the training images": (
            UNIT + SIZES + "    return max(fits, key=lambda u: training.accuracy(fine_tune(model, u, images, labels), images, labels))"
        ),
        "an index": UNIT + "    return 2",
    },
}

RIGHT = {
    "parameter_groups": {
        "a group for each tensor": (
            GROUPS + "    groups = []\n    for name, p in model.named_parameters():\n        if p.requires_grad:\n"
            "            lr = head_rate if name.startswith('classifier') else rates[int(name.split('.')[1])]\n"
            "            groups.append({'params': [p], 'lr': lr})\n    return tuple(groups)"
        ),
    },
    "unfreeze_last": {
        "freezes all, then thaws": (
            UNFREEZE + "    steps = list(model.features)\n    if count < 0 or count > len(steps):\n        raise ValueError(count)\n"
            "    for p in model.parameters():\n        p.requires_grad = False\n    model.eval()\n"
            "    for m in steps[len(steps) - count:] + [model.classifier]:\n        m.train()\n"
            "        for p in m.parameters():\n            p.requires_grad = True\n    return model"
        ),
    },
    "moved_by_a_step": {
        "a deep copy of the state": (
            MOVED + "    before = copy.deepcopy(model.state_dict())\n" + STEP + COMPARE.format("(t != before[n]).any()")
        ),
        "NumPy": (
            MOVED + "    before = {n: t.numpy().copy() for n, t in model.state_dict().items()}\n" + STEP
            + COMPARE.format("not np.array_equal(t.numpy(), before[n])")
        ),
    },
    "l2_sp_backward": {
        "adds the pull to the gradients by hand": (
            L2_SP + "    loss.backward()\n    value = loss.item()\n    for n, p in model.named_parameters():\n"
            "        if n.startswith('features'):\n            move = p.detach() - start[n]\n            p.grad += strength * move\n"
            "            value += strength / 2 * float((move ** 2).sum())\n    return value"
        ),
    },
    "learning_rate": {
        "in two pieces": (
            RATE + "    t, total = (step - warm + 1, steps - warm + 1) if warm else (step, steps)\n"
            "    return float(np.where(step < warm, peak * (step + 1) / max(warm, 1), peak * np.cos(np.pi * t / total / 2) ** 2))"
        ),
    },
    "choose_unit": {
        "four folds": (
            UNIT + SIZES + "    order = np.random.default_rng(1).permutation(len(labels))\n"
            "    folds = np.array_split(order, 4)\n    def score(u):\n        found = []\n        for f in folds:\n"
            "            rest = np.setdiff1d(order, f)\n            tuned = fine_tune(model, u, images[rest], labels[rest])\n"
            "            found.append(training.accuracy(tuned, images[f], labels[f]))\n        return np.mean(found)\n"
            "    return max(fits, key=score)"
        ),
    },
}
