"""Wrong answers that learners give to the exercises of lesson 01, and right ones that differ from the reference."""

WRONG = {
    "setting": {
        "ignores the task": (
            "def setting(source_labels, target_labels, same_task):\n    if target_labels:\n        return 'inductive'\n"
            "    return 'transductive' if source_labels else 'unsupervised'"
        ),
        "labels in the source decide": (
            "def setting(source_labels, target_labels, same_task):\n    return 'inductive' if source_labels else 'unsupervised'"
        ),
        "inductive and transductive mixed up": (
            "def setting(source_labels, target_labels, same_task):\n    if not source_labels and not target_labels:\n"
            "        return 'unsupervised'\n    return 'inductive' if same_task else 'transductive'"
        ),
        "inductive needs source labels": (
            "def setting(source_labels, target_labels, same_task):\n    if not source_labels:\n        return 'unsupervised'\n"
            "    if target_labels:\n        return None if same_task else 'inductive'\n    return 'transductive' if same_task else None"
        ),
    },
    "new_head": {
        "changes the original": (
            "def new_head(model, classes):\n    model.classifier = nn.Linear(model.classifier.in_features, classes)\n    return model"
        ),
        "shares memory with the original": (
            "def new_head(model, classes):\n    new = copy.copy(model)\n    new._modules = dict(model._modules)\n"
            "    new.classifier = nn.Linear(model.classifier.in_features, classes)\n    return new"
        ),
        "starts from random weights": (
            "from helpers.backbones.small_cnn import SmallCNN\n\ndef new_head(model, classes):\n"
            "    return SmallCNN(classes)"
        ),
        "forgets the statistics of BatchNorm": (
            "from helpers.backbones.small_cnn import SmallCNN\n\ndef new_head(model, classes):\n    new = SmallCNN(classes)\n"
            "    for a, b in zip(new.features.parameters(), model.features.parameters()):\n        a.data = b.data.clone()\n    return new"
        ),
        "always ten classes": (
            "def new_head(model, classes):\n    model = copy.deepcopy(model)\n    model.classifier = nn.Linear(64, 10)\n    return model"
        ),
    },
    "labels_needed": {
        "linear in the labels": (
            "def labels_needed(labels, accuracies, target):\n    if target > accuracies[-1]:\n        return None\n"
            "    return float(np.interp(target, accuracies, labels))"
        ),
        "never says None": (
            "def labels_needed(labels, accuracies, target):\n    return float(np.exp(np.interp(target, accuracies, np.log(labels))))"
        ),
        "the next measured point": (
            "def labels_needed(labels, accuracies, target):\n    for n, a in zip(labels, accuracies):\n        if a >= target:\n"
            "            return n\n    return None"
        ),
        "forgets the exponential": (
            "def labels_needed(labels, accuracies, target):\n    if target > accuracies[-1]:\n        return None\n"
            "    return float(np.interp(target, accuracies, np.log(labels)))"
        ),
    },
    "negative_transfer": {
        "any lower mean": "def negative_transfer(transfer, scratch):\n    return bool(np.mean(transfer) < np.mean(scratch))",
        "not paired": (
            "def negative_transfer(transfer, scratch):\n    a, b = np.asarray(transfer), np.asarray(scratch)\n"
            "    error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))\n    return bool(a.mean() - b.mean() < -2 * error)"
        ),
        "the sign turned round": (
            "def negative_transfer(transfer, scratch):\n    d = np.asarray(scratch) - np.asarray(transfer)\n"
            "    return bool(d.mean() < -2 * d.std(ddof=1) / np.sqrt(len(d)))"
        ),
        "deviation instead of standard error": (
            "def negative_transfer(transfer, scratch):\n    d = np.asarray(transfer) - np.asarray(scratch)\n"
            "    return bool(d.mean() < -2 * d.std(ddof=1))"
        ),
    },
    "choose_source": {
        "always the same box": "def choose_source(candidates, labels):\n    return 'A'",
        "the largest variance": "def choose_source(candidates, labels):\n    return min(candidates, key=lambda n: candidates[n].var())",
        "training accuracy": (
            "def choose_source(candidates, labels):\n"
            "    return min(candidates, key=lambda n: features.nearest_neighbours(candidates[n], labels).score(candidates[n], labels))"
        ),
        "training accuracy of the probe itself": (
            "def choose_source(candidates, labels):\n"
            "    return max(candidates, key=lambda n: features.linear_probe(candidates[n], labels).score(candidates[n], labels))"
        ),
        "the box with the worst probe": (
            "def choose_source(candidates, labels):\n    from sklearn.model_selection import cross_val_score\n"
            "    probe = {n: features.linear_probe(v, labels) for n, v in candidates.items()}\n"
            "    return min(candidates, key=lambda n: cross_val_score(probe[n], candidates[n], labels).mean())"
        ),
    },
}

RIGHT = {
    "setting": {
        "as a table": (
            "def setting(source_labels, target_labels, same_task):\n"
            "    table = {(True, True, False): 'inductive', (False, True, False): 'inductive', (True, False, True): 'transductive',\n"
            "             (False, False, True): 'unsupervised', (False, False, False): 'unsupervised'}\n"
            "    return table.get((source_labels, target_labels, same_task))"
        ),
    },
    "new_head": {
        "by the state of every part": (
            "from helpers.backbones.small_cnn import SmallCNN\n\n"
            "def new_head(model, classes):\n    new = SmallCNN(classes)\n    new.features.load_state_dict(model.features.state_dict())\n"
            "    return new"
        ),
    },
    "labels_needed": {
        "base ten": (
            "def labels_needed(labels, accuracies, target):\n    return None if target > max(accuracies) else "
            "10 ** np.interp(target, accuracies, np.log10(labels))"
        ),
    },
    "negative_transfer": {
        "with scipy's t": (
            "def negative_transfer(transfer, scratch):\n    from scipy import stats\n"
            "    return stats.ttest_rel(transfer, scratch).statistic < -2"
        ),
    },
    "choose_source": {
        "linear discriminant analysis": (
            "def choose_source(candidates, labels):\n    from sklearn.model_selection import cross_val_score\n"
            "    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis\n"
            "    def score(v):\n        model = LinearDiscriminantAnalysis(solver='lsqr', shrinkage='auto')\n"
            "        return cross_val_score(model, v, labels, cv=6).mean()\n"
            "    return max(candidates, key=lambda n: score(candidates[n]))"
        ),
    },
}
