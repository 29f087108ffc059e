"""Wrong answers that learners give to the exercises of lesson 20, and right ones that differ from the reference."""

HANN = "    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)\n"
SHORT = "    if len(wave) < window:\n        raise ValueError('too short')\n"
LOGITS = "    logits = scale * F.normalize(images, dim=1) @ F.normalize(captions, dim=1).T\n"

WRONG = {
    "power_spectrogram": {
        "no window function": (
            "def power_spectrogram(wave, window, hop):\n" + SHORT +
            "    rows = [wave[s : s + window] for s in range(0, len(wave) - window + 1, hop)]\n"
            "    return np.abs(np.fft.rfft(np.stack(rows))).T ** 2"
        ),
        "amplitude instead of power": (
            "def power_spectrogram(wave, window, hop):\n" + SHORT + HANN +
            "    rows = [wave[s : s + window] * hann for s in range(0, len(wave) - window + 1, hop)]\n"
            "    return np.abs(np.fft.rfft(np.stack(rows))).T"
        ),
        "frames in rows": (
            "def power_spectrogram(wave, window, hop):\n" + SHORT + HANN +
            "    rows = [wave[s : s + window] * hann for s in range(0, len(wave) - window + 1, hop)]\n"
            "    return np.abs(np.fft.rfft(np.stack(rows))) ** 2"
        ),
        "loses the last frame": (
            "def power_spectrogram(wave, window, hop):\n" + SHORT + HANN +
            "    rows = [wave[s : s + window] * hann for s in range(0, len(wave) - window, hop)]\n"
            "    return np.abs(np.fft.rfft(np.stack(rows))).T ** 2"
        ),
        "refuses a wave of one window": (
            "def power_spectrogram(wave, window, hop):\n" + SHORT.replace("<", "<=") + HANN +
            "    rows = [wave[s : s + window] * hann for s in range(0, len(wave) - window + 1, hop)]\n"
            "    return np.abs(np.fft.rfft(np.stack(rows))).T ** 2"
        ),
        "short waves are filled up": (
            "def power_spectrogram(wave, window, hop):\n" + HANN +
            "    wave = np.pad(wave, (0, max(0, window - len(wave))))\n"
            "    rows = [wave[s : s + window] * hann for s in range(0, len(wave) - window + 1, hop)]\n"
            "    return np.abs(np.fft.rfft(np.stack(rows))).T ** 2"
        ),
    },
    "pool_time": {
        "the mean over all places": (
            "def pool_time(maps, steps):\n    return maps.mean((2, 3)).repeat_interleave(steps, 1)"
        ),
        "frequency instead of time": (
            "def pool_time(maps, steps):\n    return F.adaptive_avg_pool2d(maps, (steps, 1)).flatten(1)"
        ),
        "steps before channels": (
            "def pool_time(maps, steps):\n    return F.adaptive_avg_pool2d(maps, (1, steps)).transpose(1, 3).flatten(1)"
        ),
        "every n-th column": (
            "def pool_time(maps, steps):\n    n, c, h, w = maps.shape\n"
            "    return maps.reshape(n, c, h, w // steps, steps).mean((2, 3)).flatten(1)"
        ),
        "not flattened": "def pool_time(maps, steps):\n    return F.adaptive_avg_pool2d(maps, (1, steps))",
    },
    "contrastive_loss": {
        "rows only": (
            "def contrastive_loss(images, captions, scale, same=None):\n" + LOGITS +
            "    t = torch.eye(len(logits)) if same is None else same.float()\n"
            "    return F.cross_entropy(logits, t / t.sum(1, keepdim=True))"
        ),
        "not normalised": (
            "def contrastive_loss(images, captions, scale, same=None):\n    logits = scale * images @ captions.T\n"
            "    t = torch.eye(len(logits)) if same is None else same.float()\n"
            "    return (F.cross_entropy(logits, t / t.sum(1, keepdim=True)) + "
            "F.cross_entropy(logits.T, t.T / t.T.sum(1, keepdim=True))) / 2"
        ),
        "ignores scale": (
            "def contrastive_loss(images, captions, scale, same=None):\n    scale = 1.0\n" + LOGITS +
            "    t = torch.eye(len(logits)) if same is None else same.float()\n"
            "    return (F.cross_entropy(logits, t / t.sum(1, keepdim=True)) + "
            "F.cross_entropy(logits.T, t.T / t.T.sum(1, keepdim=True))) / 2"
        ),
        "shares of the rows for the columns": (
            "def contrastive_loss(images, captions, scale, same=None):\n" + LOGITS +
            "    t = torch.eye(len(logits)) if same is None else same.float()\n    t = t / t.sum(1, keepdim=True)\n"
            "    return (F.cross_entropy(logits, t) + F.cross_entropy(logits.T, t.T)) / 2"
        ),
        "ignores same": (
            "def contrastive_loss(images, captions, scale, same=None):\n" + LOGITS +
            "    t = torch.arange(len(logits))\n    return (F.cross_entropy(logits, t) + F.cross_entropy(logits.T, t)) / 2"
        ),
        "targets not shared": (
            "def contrastive_loss(images, captions, scale, same=None):\n" + LOGITS +
            "    t = torch.eye(len(logits)) if same is None else same.float()\n"
            "    return (F.cross_entropy(logits, t) + F.cross_entropy(logits.T, t.T)) / 2"
        ),
        "the sum of both": (
            "def contrastive_loss(images, captions, scale, same=None):\n" + LOGITS +
            "    t = torch.eye(len(logits)) if same is None else same.float()\n"
            "    rows = F.cross_entropy(logits, t / t.sum(1, keepdim=True))\n"
            "    return rows + F.cross_entropy(logits.T, t.T / t.T.sum(1, keepdim=True))"
        ),
        "only pulls together": (
            "def contrastive_loss(images, captions, scale, same=None):\n"
            "    return -scale * (F.normalize(images, dim=1) * F.normalize(captions, dim=1)).sum(1).mean()"
        ),
    },
    "recall_at": {
        "argsort, ties by place": (
            "def recall_at(similarity, truth, k):\n    first = np.argsort(-similarity, axis=1, kind='stable')[:, :k]\n"
            "    return float((first == truth[:, None]).any(1).mean())"
        ),
        "ties count as found": (
            "def recall_at(similarity, truth, k):\n    own = similarity[np.arange(len(truth)), truth][:, None]\n"
            "    return float(((similarity > own).sum(1) < k).mean())"
        ),
        "clipped above only": (
            "def recall_at(similarity, truth, k):\n    own = similarity[np.arange(len(truth)), truth][:, None]\n"
            "    better, level = (similarity > own).sum(1), (similarity == own).sum(1)\n"
            "    return float(np.minimum(1, (k - better) / level).mean())"
        ),
        "ties by np.isclose": (
            "def recall_at(similarity, truth, k):\n    own = similarity[np.arange(len(truth)), truth][:, None]\n"
            "    level = np.isclose(similarity, own)\n    better = ((similarity > own) & ~level).sum(1)\n"
            "    return float(np.clip((k - better) / level.sum(1), 0, 1).mean())"
        ),
        "ties within 0.001": (
            "def recall_at(similarity, truth, k):\n    own = similarity[np.arange(len(truth)), truth][:, None]\n"
            "    better, level = (similarity > own + 1e-3).sum(1), (abs(similarity - own) <= 1e-3).sum(1)\n"
            "    return float(np.clip((k - better) / level, 0, 1).mean())"
        ),
        "the smallest first": (
            "def recall_at(similarity, truth, k):\n    first = np.argsort(similarity, axis=1)[:, :k]\n"
            "    return float((first == truth[:, None]).any(1).mean())"
        ),
        "always k = 1": "def recall_at(similarity, truth, k):\n    return float((similarity.argmax(1) == truth).mean())",
        "chance": "def recall_at(similarity, truth, k):\n    return k / similarity.shape[1]",
    },
    "choose_features": {
        "random folds": (
            "def choose_features(candidates, labels, voices):\n    from sklearn.model_selection import cross_val_score, StratifiedKFold\n"
            "    cv = StratifiedKFold(5, shuffle=True, random_state=0)\n"
            "    probe = lambda n: features.linear_probe(candidates[n], labels, 0.01)\n"
            "    score = lambda n: cross_val_score(probe(n), candidates[n], labels, cv=cv).mean()\n"
            "    return max(sorted(candidates, key=lambda n: candidates[n].shape[1]), key=score)"
        ),
        "training accuracy": (
            "def choose_features(candidates, labels, voices):\n    ordered = sorted(candidates, key=lambda n: candidates[n].shape[1])\n"
            "    return max(ordered, key=lambda n: features.linear_probe(candidates[n], labels).score(candidates[n], labels))"
        ),
        "the most numbers": (
            "def choose_features(candidates, labels, voices):\n    return max(candidates, key=lambda n: candidates[n].shape[1])"
        ),
        "the fewest numbers": (
            "def choose_features(candidates, labels, voices):\n    return min(candidates, key=lambda n: candidates[n].shape[1])"
        ),
        "the width of block 10": (
            "def choose_features(candidates, labels, voices):\n    names = [n for n in candidates if candidates[n].shape[1] == 896]\n"
            "    return names[0] if names else sorted(candidates)[0]"
        ),
        "second narrowest": (
            "def choose_features(candidates, labels, voices):\n    return sorted(candidates, key=lambda n: candidates[n].shape[1])[1]"
        ),
        "always A": "def choose_features(candidates, labels, voices):\n    return 'A'",
        "always D": "def choose_features(candidates, labels, voices):\n    return 'D'",
        "an index": "def choose_features(candidates, labels, voices):\n    return 0",
    },
}

RIGHT = {
    "power_spectrogram": {
        "strides and the full transform": (
            "def power_spectrogram(wave, window, hop):\n" + SHORT + HANN +
            "    frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::hop] * hann\n"
            "    z = np.fft.fft(frames)[:, : window // 2 + 1]\n    return (z.real ** 2 + z.imag ** 2).T"
        ),
    },
    "pool_time": {
        "adaptive pooling": "def pool_time(maps, steps):\n    return F.adaptive_avg_pool2d(maps, (1, steps)).flatten(1)",
        "chunks": (
            "def pool_time(maps, steps):\n    parts = [part.mean((2, 3)) for part in maps.chunk(steps, dim=3)]\n"
            "    return torch.stack(parts, 2).flatten(1)"
        ),
    },
    "contrastive_loss": {
        "written out": (
            "def contrastive_loss(images, captions, scale, same=None):\n"
            "    a = images / images.norm(dim=1, keepdim=True)\n    b = captions / captions.norm(dim=1, keepdim=True)\n"
            "    s = scale * a @ b.T\n    t = torch.eye(len(s)) if same is None else same.to(s.dtype)\n"
            "    rows = -(t / t.sum(1, keepdim=True) * (s - s.logsumexp(1, keepdim=True))).sum(1).mean()\n"
            "    columns = -(t / t.sum(0, keepdim=True) * (s - s.logsumexp(0, keepdim=True))).sum(0).mean()\n"
            "    return 0.5 * rows + 0.5 * columns"
        ),
    },
    "recall_at": {
        "query by query": (
            "def recall_at(similarity, truth, k):\n    total = 0\n    for row, place in zip(similarity, truth):\n"
            "        better, level = sum(row > row[place]), sum(row == row[place])\n"
            "        total += min(1, max(0, (k - better) / level))\n    return total / len(truth)"
        ),
        "by sorting": (
            "def recall_at(similarity, truth, k):\n    own = similarity[np.arange(len(truth)), truth]\n    found = []\n"
            "    for row, value in zip(np.sort(similarity, axis=1)[:, ::-1], own):\n"
            "        places = np.flatnonzero(row == value)\n        found.append((places < k).mean())\n    return float(np.mean(found))"
        ),
    },
    "choose_features": {
        "LeaveOneGroupOut and a weaker probe": (
            "def choose_features(candidates, labels, voices):\n    from sklearn.model_selection import LeaveOneGroupOut, cross_val_score\n"
            "    probe = lambda n: features.linear_probe(candidates[n], labels, 0.003)\n"
            "    score = lambda n: cross_val_score(probe(n), candidates[n], labels, groups=voices, cv=LeaveOneGroupOut()).mean()\n"
            "    return max(candidates, key=score)"
        ),
        "one voice left out each time": (
            "def choose_features(candidates, labels, voices):\n    def score(v):\n        right = 0\n"
            "        for voice in np.unique(voices):\n            out = voices == voice\n"
            "            probe = features.linear_probe(v[~out], labels[~out], 0.01)\n"
            "            right += (probe.predict(v[out]) == labels[out]).sum()\n        return right\n"
            "    return max(candidates, key=lambda n: score(candidates[n]))"
        ),
    },
}
