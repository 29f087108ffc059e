"""Wrong answers that learners give to the exercises of lesson 15, and right ones that differ from the reference."""

BEFORE = (
    "def words_before(targets):\n    before = torch.roll(targets, 1, dims=1)\n    before[:, 0] = START\n    return before\n\n\n"
)
LOSS = (
    "def sequence_loss(logits, targets):\n    real = targets != PADDING\n    return F.cross_entropy(logits[real], targets[real])\n"
)
ATTEND = (
    "def attend(queries, states, mask):\n    scores = torch.einsum('nmd,nsd->nms', queries, states) / states.shape[-1] ** 0.5\n"
)
BEAM_HEAD = "def beam_search(start, follow, width, length):\n    beams = [([], 0.0)]\n    for _ in range(length):\n        found = []\n"
BEAM = BEAM_HEAD + (
    "        for words, value in beams:\n            if words and words[-1] == 0:\n                found.append((words, value))\n"
    "                continue\n            row = follow[words[-1]] if words else start\n"
    "            found += [(words + [w], value + row[w]) for w in range(len(row))]\n"
    "        beams = sorted(found, key=lambda b: b[1], reverse=True)[:width]\n    return beams[0]\n"
)
LEARN_HEAD = "def learn_merges(words, count):\n    rows, merges = [list(w) for w in words], []\n    for _ in range(count):\n"
COUNTED = "        pairs = Counter(p for r in rows for p in zip(r, r[1:]))\n"
STOP = "        if not pairs or max(pairs.values()) < 2:\n            break\n"
BEST = "        best = sorted(pairs, key=lambda p: (-pairs[p], p))[0]\n"
JOIN = "        merges.append(best)\n        rows = [glue(r, best) for r in rows]\n    return merges\n\n\n"
GLUE = (
    "def glue(row, pair):\n    out, i = [], 0\n    while i < len(row):\n        if tuple(row[i:i + 2]) == tuple(pair):\n"
    "            out.append(row[i] + row[i + 1])\n            i += 2\n        else:\n            out.append(row[i])\n"
    "            i += 1\n    return out\n\n\n"
)
SPLIT = "def split(word, merges):\n    row = list(word)\n    for pair in merges:\n        row = glue(row, pair)\n    return row\n"

WRONG = {
    "sequence_loss": {
        "padding counts": BEFORE + (
            "def sequence_loss(logits, targets):\n    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())\n"
        ),
        "the end does not count": BEFORE + (
            "def sequence_loss(logits, targets):\n    real = targets > END\n    return F.cross_entropy(logits[real], targets[real])\n"
        ),
        "a mean of the texts' means": BEFORE + (
            "def sequence_loss(logits, targets):\n"
            "    return torch.stack([F.cross_entropy(a, b, ignore_index=PADDING) for a, b in zip(logits, targets)]).mean()\n"
        ),
        "divided by all places": BEFORE + (
            "def sequence_loss(logits, targets):\n"
            "    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING, reduction='sum')\n"
            "    return total / targets.numel()\n"
        ),
        "the last word comes round to the front": "def words_before(targets):\n    return torch.roll(targets, 1, dims=1)\n\n\n" + LOSS,
        "moved the other way": (
            "def words_before(targets):\n    return torch.cat([targets[:, 1:], torch.full_like(targets[:, :1], START)], 1)\n\n\n" + LOSS
        ),
        "START in the place of the first word": (
            "def words_before(targets):\n    targets = targets.clone()\n    targets[:, 0] = START\n    return targets\n\n\n" + LOSS
        ),
    },
    "attend": {
        "no mask": ATTEND + "    weights = scores.softmax(-1)\n    return weights @ states, weights\n",
        "masked after the softmax": ATTEND + "    weights = scores.softmax(-1) * mask[:, None]\n    return weights @ states, weights\n",
        "score 0 instead of minus infinity": ATTEND + (
            "    weights = (scores * mask[:, None]).softmax(-1)\n    return weights @ states, weights\n"
        ),
        "not divided by the root": (
            "def attend(queries, states, mask):\n    scores = queries @ states.transpose(1, 2)\n"
            "    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)\n    return weights @ states, weights\n"
        ),
        "softmax over the queries": ATTEND + (
            "    weights = scores.softmax(1) * mask[:, None]\n    return weights @ states, weights\n"
        ),
        "the mask the wrong way round": ATTEND + (
            "    weights = scores.masked_fill(mask[:, None], -1e9).softmax(-1)\n    return weights @ states, weights\n"
        ),
    },
    "beam_search": {
        "greedy at any width": (
            "def beam_search(start, follow, width, length):\n    words = [int(np.argmax(start))]\n    value = float(start[words[0]])\n"
            "    while words[-1] != 0 and len(words) < length:\n        value += float(follow[words[-1]].max())\n"
            "        words.append(int(np.argmax(follow[words[-1]])))\n    return words, value\n"
        ),
        "goes on after the end": (
            BEAM_HEAD + "        for words, value in beams:\n            row = follow[words[-1]] if words else start\n"
            "            found += [(words + [w], value + row[w]) for w in range(len(row))]\n"
            "        beams = sorted(found, key=lambda b: -b[1])[:width]\n    return beams[0]\n"
        ),
        "the first that ends is returned": BEAM.replace("    return beams[0]\n", (
            "        if beams[0][0][-1] == 0:\n            return beams[0]\n"
            "        beams = [b for b in beams if b[0][-1] != 0] or beams\n    return beams[0]\n"
        )),
        "keeps `width` of each beginning": BEAM_HEAD + (
            "        for words, value in beams:\n            if words and words[-1] == 0:\n                found.append((words, value))\n"
            "                continue\n            row = follow[words[-1]] if words else start\n"
            "            best = np.argsort(-row)[:width]\n            found += [(words + [int(w)], value + row[w]) for w in best]\n"
            "        beams = found\n    return max(beams, key=lambda b: b[1])\n"
        ),
        "the least likely": BEAM.replace("reverse=True", "reverse=False"),
        "mean log-probability": BEAM.replace("key=lambda b: b[1]", "key=lambda b: b[1] / len(b[0])"),
        "returns probabilities": BEAM.replace("    return beams[0]\n", "    return beams[0][0], float(np.exp(beams[0][1]))\n"),
    },
    "byte_pairs": {
        "counts only once": (
            "def learn_merges(words, count):\n    rows = [list(w) for w in words]\n"
            "    pairs = Counter(p for r in rows for p in zip(r, r[1:]))\n"
            "    return sorted((p for p in pairs if pairs[p] > 1), key=lambda p: (-pairs[p], p))[:count]\n\n\n" + GLUE + SPLIT
        ),
        "a word counts once": LEARN_HEAD.replace("for w in words]", "for w in set(words)]") + COUNTED + STOP + BEST + JOIN + GLUE + SPLIT,
        "ties by first appearance": LEARN_HEAD + COUNTED + STOP + "        best = max(pairs, key=pairs.get)\n" + JOIN + GLUE + SPLIT,
        "never stops early": LEARN_HEAD + COUNTED + "        if not pairs:\n            break\n" + BEST + JOIN + GLUE + SPLIT,
        "across words": LEARN_HEAD.replace("rows, merges = [list(w) for w in words], []", "rows, merges = [list(''.join(words))], []")
        + COUNTED + STOP + BEST + JOIN + GLUE + SPLIT,
        "the longest merge first": LEARN_HEAD + COUNTED + STOP + BEST + JOIN + GLUE + SPLIT.replace(
            "for pair in merges", "for pair in sorted(merges, key=lambda p: -len(p[0] + p[1]))"
        ),
    },
    "choose": {
        "the first fifty": "def choose():\n    return list(range(50))\n",
        "evenly, in round numbers": "def choose():\n    return list(range(0, 10_000, 200))\n",
        "at random": "def choose():\n    return np.random.default_rng(0).permutation(COUNT)[:50].tolist()\n",
        "every word, in short numbers": (
            "def choose():\n    tens, hundreds = [*range(0, 21), *range(30, 100, 10)], range(100, 1000, 100)\n"
            "    return [*tens, *hundreds, *range(1000, 10_000, 1000), 101, 21, 71, 2200]\n"
        ),
        "too many": "def choose():\n    return list(range(1000, 1100))\n",
    },
    "plan": {
        "from scratch": "def plan(pairs, grammar):\n    return 'scratch', 0.008\n",
        "always the vocabulary": "def plan(pairs, grammar):\n    return 'vocabulary only', 0.06\n",
        "a tiny rate": "def plan(pairs, grammar):\n    return 'all weights', 1e-4\n",
        "a huge rate": "def plan(pairs, grammar):\n    return 'all weights', 0.5\n",
        "an arm that there is not": "def plan(pairs, grammar):\n    return 'everything', 0.01\n",
    },
}

RIGHT = {
    "sequence_loss": {
        "roll, and the real words picked out": BEFORE + LOSS,
        "gathered by hand": (
            "def words_before(targets):\n    before = torch.ones_like(targets)\n    before[:, 1:] = targets[:, :-1]\n"
            "    return before\n\n\n"
            "def sequence_loss(logits, targets):\n    right = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]\n"
            "    real = (targets != 0).float()\n    return -(right * real).sum() / real.sum()\n"
        ),
    },
    "attend": {
        "a large negative number": ATTEND + (
            "    weights = scores.masked_fill(~mask[:, None], -1e9).softmax(-1)\n    return weights @ states, weights\n"
        ),
    },
    "beam_search": {
        "no early stop": BEAM,
        "of equally likely texts the later": BEAM.replace("key=lambda b: b[1]", "key=lambda b: round(b[1], 9)").replace(
            "sorted(found,", "sorted(found[::-1],"
        ),
    },
    "byte_pairs": {
        "joined by index": LEARN_HEAD + COUNTED + STOP + BEST + JOIN + GLUE + SPLIT,
    },
    "choose": {
        "other steps through the digits": (
            "def choose():\n    plain = [10 * (2 + (3 * i + i // 8) % 8) + 1 + (4 * i + i // 9) % 9 for i in range(50)]\n"
            "    ends = [10 + i // 5 if i % 5 == 4 else plain[i] for i in range(50)]\n"
            "    return np.array([1000 * (1 + i % 9) + 100 * (1 + (2 * i + i // 9) % 9) + ends[i] for i in range(50)])\n"
        ),
    },
    "plan": {
        "all weights, twice": "def plan(pairs, grammar):\n    return ['all weights', 0.03]\n",
    },
}
