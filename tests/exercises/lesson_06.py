"""Wrong answers that learners give to the exercises of lesson 06, and right ones that differ from the reference."""

EARLY = '''
def train_early(model, inputs, labels, held_inputs, held_labels, rate, steps, patience):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    accuracies, best, kept, waited = [], -1.0, None, 0
    for _ in range(steps):
        model.train()
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracies.append((model(held_inputs).argmax(1) == held_labels).float().mean().item())
        if accuracies[-1] > best:
            best, kept, waited = accuracies[-1], copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
        if waited >= patience:
            break
    model.load_state_dict(kept)
    return model, accuracies
'''

HONEST = '''
def honest_accuracy(vectors, labels, groups, seed):
    train, test = splits.group_split(groups, 0.25, seed)
    rng = np.random.default_rng(seed)
    selector = SelectKBest(f_classif, k=20).fit(vectors[train], labels[train])
    selected = selector.transform(vectors[train])
    copies = np.concatenate([selected + 0.1 * rng.standard_normal(selected.shape) for _ in range(3)])
    model = LogisticRegression(max_iter=300).fit(copies, np.tile(labels[train], 3))
    return model.score(selector.transform(vectors[test]), labels[test])
'''

CHOOSE = '''
def choose_augmentation(candidates, images, labels):
    from sklearn.model_selection import cross_val_score
    def promise(copies):
        rows = np.concatenate([images[None], copies]).reshape(-1, 64)
        tiled = np.tile(labels, len(copies) + 1)
        return cross_val_score(features.linear_probe(rows, tiled), rows, tiled, cv=4).mean()
    return max(candidates, key=lambda name: promise(candidates[name]))
'''

ROW_SPLIT = "train_test_split(np.arange(len(labels)), test_size=0.25, random_state=seed)"

WRONG = {
    "mixup": {
        "the share of the other image": (
            "def mixup(images, targets, share, partner):\n"
            "    return (1 - share) * images + share * images[partner], (1 - share) * targets + share * targets[partner]"
        ),
        "the larger share for the image": (
            "def mixup(images, targets, share, partner):\n    share = max(share, 1 - share)\n"
            "    return share * images + (1 - share) * images[partner], share * targets + (1 - share) * targets[partner]"
        ),
        "targets stay": (
            "def mixup(images, targets, share, partner):\n    return share * images + (1 - share) * images[partner], targets"
        ),
        "blends with the image itself": (
            "def mixup(images, targets, share, partner):\n"
            "    return share * images + (1 - share) * images, share * targets + (1 - share) * targets"
        ),
        "in place": (
            "def mixup(images, targets, share, partner):\n    other, their = images[partner], targets[partner]\n"
            "    images *= share\n    images += (1 - share) * other\n"
            "    return images, share * targets + (1 - share) * their"
        ),
        "images alone": (
            "def mixup(images, targets, share, partner):\n    return share * images + (1 - share) * images[partner]"
        ),
    },
    "train_early": {
        "keeps the last weights": EARLY.replace("    model.load_state_dict(kept)\n", ""),
        "the best weights are not a copy": EARLY.replace("copy.deepcopy(model.state_dict())", "model.state_dict()"),
        "a shallow copy": EARLY.replace("copy.deepcopy(model.state_dict())", "dict(model.state_dict())"),
        "never waits anew": EARLY.replace("copy.deepcopy(model.state_dict()), 0", "copy.deepcopy(model.state_dict()), waited"),
        "equal counts as risen": EARLY.replace("accuracies[-1] > best", "accuracies[-1] >= best"),
        "stops one step late": EARLY.replace("waited >= patience", "waited > patience"),
        "measures in training mode": EARLY.replace("model.eval()", "pass"),
        "stays in evaluation mode": EARLY.replace("        model.train()\n", ""),
        "ignores patience": EARLY.replace("            break\n", "            pass\n"),
    },
    "deal_labels": {
        "member by member": (
            "def deal_labels(labels, groups, seed):\n    return np.random.default_rng(seed).permutation(labels)"
        ),
        "nothing moves": "def deal_labels(labels, groups, seed):\n    return np.array(labels)",
        "drawn with replacement": (
            "def deal_labels(labels, groups, seed):\n    names, member = np.unique(groups, return_inverse=True)\n"
            "    return np.random.default_rng(seed).choice(np.unique(labels), len(names))[member]"
        ),
        "ignores the seed": (
            "def deal_labels(labels, groups, seed):\n"
            "    _, first, member = np.unique(groups, return_index=True, return_inverse=True)\n"
            "    return np.random.default_rng(0).permutation(labels[first])[member]"
        ),
        "shuffles in place": (
            "def deal_labels(labels, groups, seed):\n"
            "    _, first, member = np.unique(groups, return_index=True, return_inverse=True)\n"
            "    labels[:] = np.random.default_rng(seed).permutation(labels[first])[member]\n    return labels"
        ),
        "the labels are renamed": (
            "def deal_labels(labels, groups, seed):\n    names = np.unique(labels)\n"
            "    return names[np.random.default_rng(seed).permutation(len(names))][np.searchsorted(names, labels)]"
        ),
    },
    "honest_accuracy": {
        "the colleague's own": (
            "def honest_accuracy(vectors, labels, groups, seed):\n    return colleagues_accuracy(vectors, labels, groups, seed)"
        ),
        "splits rows, not patients": HONEST.replace("splits.group_split(groups, 0.25, seed)", ROW_SPLIT),
        "selects on all rows": HONEST.replace("fit(vectors[train], labels[train])", "fit(vectors, labels)"),
        "copies before the split": (
            "def honest_accuracy(vectors, labels, groups, seed):\n    rng = np.random.default_rng(seed)\n"
            "    copies = np.concatenate([vectors + 0.1 * rng.standard_normal(vectors.shape) for _ in range(3)])\n"
            "    y = np.tile(labels, 3)\n"
            "    train, test = train_test_split(np.arange(len(copies)), test_size=0.25, random_state=seed)\n"
            "    s = SelectKBest(f_classif, k=20).fit(copies[train], y[train])\n"
            "    model = LogisticRegression(max_iter=300).fit(s.transform(copies[train]), y[train])\n"
            "    return model.score(s.transform(copies[test]), y[test])"
        ),
        "tests on the training rows": HONEST.replace("vectors[test]), labels[test]", "vectors[train]), labels[train]"),
        "always chance": "def honest_accuracy(vectors, labels, groups, seed):\n    return 0.5",
    },
    "choose_augmentation": {
        "copies of the tested images in training": CHOOSE,
        "always the mild one": "def choose_augmentation(candidates, images, labels):\n    return 'mild affine'",
        "always turns": "def choose_augmentation(candidates, images, labels):\n    return 'quarter turns'",
        "always mirrors": "def choose_augmentation(candidates, images, labels):\n    return 'mirror'",
        "the one that changes most": (
            "def choose_augmentation(candidates, images, labels):\n"
            "    return max(candidates, key=lambda name: np.abs(candidates[name] - images).mean())"
        ),
        "an index": "def choose_augmentation(candidates, images, labels):\n    return 0",
    },
}

RIGHT = {
    "mixup": {
        "lerp": (
            "def mixup(images, targets, share, partner):\n"
            "    return torch.lerp(images[partner], images, share), torch.lerp(targets[partner], targets, share)"
        ),
    },
    "train_early": {
        "a dictionary of clones, and inference mode": EARLY.replace(
            "copy.deepcopy(model.state_dict())", "{name: tensor.clone() for name, tensor in model.state_dict().items()}"
        ).replace("torch.no_grad()", "torch.inference_mode()"),
        "a copy of the whole model": (
            EARLY.replace("copy.deepcopy(model.state_dict())", "copy.deepcopy(model)")
            .replace("    model.load_state_dict(kept)\n", "")
            .replace("return model,", "return kept,")
        ),
    },
    "deal_labels": {
        "a dictionary": (
            "def deal_labels(labels, groups, seed):\n    import random\n"
            "    of = {int(g): int(l) for g, l in zip(groups, labels)}\n    values = list(of.values())\n"
            "    random.Random(seed).shuffle(values)\n    new = dict(zip(of, values))\n"
            "    return [new[int(g)] for g in groups]"
        ),
    },
    "honest_accuracy": {
        "a pipeline and half-hearted copies": (
            "def honest_accuracy(vectors, labels, groups, seed):\n"
            "    from sklearn.model_selection import StratifiedGroupKFold\n    from sklearn.pipeline import make_pipeline\n"
            "    folds = StratifiedGroupKFold(4, shuffle=True, random_state=seed)\n"
            "    train, test = next(folds.split(vectors, labels, groups))\n    rng = np.random.default_rng(seed)\n"
            "    rows = np.concatenate([vectors[train] + 0.1 * rng.standard_normal((len(train), vectors.shape[1])) for _ in range(3)])\n"
            "    model = make_pipeline(SelectKBest(f_classif, k=20), LogisticRegression(max_iter=300))\n"
            "    return float(model.fit(rows, np.tile(labels[train], 3)).score(vectors[test], labels[test]))"
        ),
    },
    "choose_augmentation": {
        "one half trains, the other tests": (
            "def choose_augmentation(candidates, images, labels):\n    flat = images.reshape(len(images), -1)\n"
            "    def promise(copies):\n        total = 0\n        for seed in range(4):\n"
            "            a, b = splits.stratified_half(labels, seed)\n"
            "            rows = np.concatenate([flat[a]] + [c[a].reshape(len(a), -1) for c in copies])\n"
            "            probe = features.linear_probe(rows, np.tile(labels[a], len(copies) + 1))\n"
            "            total += probe.score(flat[b], labels[b])\n        return total\n"
            "    return max(candidates, key=lambda name: promise(candidates[name]))"
        ),
    },
}
