"""Wrong answers that learners give to the exercises of lesson 18, and right ones that differ from the reference."""

WINDOWS = (
    "def correlate(image, template):\n    windows = np.lib.stride_tricks.sliding_window_view(image, template.shape).astype(float)\n"
)
FOLLOW = (
    "def follow(scores, start, window, floor):\n    path, last = [tuple(start)], tuple(start)\n    for frame in scores[1:]:\n"
    "        near = np.full_like(frame, -np.inf)\n        r, c = max(last[0] - window, 0), max(last[1] - window, 0)\n"
    "        near[r:last[0] + window + 1, c:last[1] + window + 1] = frame[r:last[0] + window + 1, c:last[1] + window + 1]\n"
    "        best = near if near.max() >= floor else frame\n"
    "        place = tuple(int(p) for p in np.unravel_index(best.argmax(), best.shape))\n"
    "        if best[place] >= floor:\n            last = place\n            path.append(place)\n"
    "        else:\n            path.append((-1, -1))\n    return np.array(path)\n"
)
TRACK_HEAD = (
    "def my_tracker(frames, centre, size):\n    raw = features.extract_pyramid(frames, ('LAYER',))[0]\n"
    "    maps = tracking.standard_maps(raw, 128 // raw.shape[-1])\n"
)
TRACK = TRACK_HEAD + "    return tracking.track(maps, centre, size, OPTIONS)\n"
MY_TRACKER = TRACK_HEAD.replace("LAYER", "block 4") + (
    "    first = tracking.cut_template(maps[0], centre, size)\n    template, path = first.clone(), [tuple(centre)]\n"
    "    for frame in maps[1:]:\n        scores = tracking.cosine(frame[None], template)\n"
    "        place = tracking.peak(scores, template.shape[-1])[0]\n        path.append(tuple(place))\n"
    "        if float(scores.max()) > 0.55:\n            found = tracking.cut_template(frame, place, size)\n"
    "            template = 0.85 * template + 0.15 * found\n    return np.array(path)\n"
)
CIRCLE = TRACK_HEAD.replace("LAYER", "block 4") + (
    "    seen = tracking.track(maps, centre, size, update=0.1)\n"
    "    phase = np.arctan2(centre[1] - 64, centre[0] - 64)\n    ways = []\n"
    "    for way in (-1, 1):\n        turns = phase + way * np.linspace(0, 3.5, len(frames))\n"
    "        ways.append(64 + 0.28 * 128 * np.stack([np.cos(turns), np.sin(turns)], 1))\n"
    "    return min(ways, key=lambda path: np.abs(path[:6] - seen[:6]).sum())\n"
)


def _track(options: str, layer: str = "block 4") -> str:
    return TRACK.replace("LAYER", layer).replace("OPTIONS", options)


WRONG = {
    "correlate": {
        "no means": WINDOWS + (
            "    lengths = np.sqrt((windows**2).sum((2, 3)) * (template**2).sum())\n"
            "    return (windows * template).sum((2, 3)) / np.maximum(lengths, 1e-9)\n"
        ),
        "the mean of the whole image": WINDOWS + (
            "    windows, pattern = windows - image.mean(), template - template.mean()\n"
            "    lengths = np.sqrt((windows**2).sum((2, 3)) * (pattern**2).sum())\n"
            "    return (windows * pattern).sum((2, 3)) / np.maximum(lengths, 1e-9)\n"
        ),
        "not divided": WINDOWS + (
            "    windows = windows - windows.mean((2, 3), keepdims=True)\n    return (windows * (template - template.mean())).sum((2, 3))\n"
        ),
        "NaN where there is no contrast": WINDOWS + (
            "    windows, pattern = windows - windows.mean((2, 3), keepdims=True), template - template.mean()\n"
            "    with np.errstate(all='ignore'):\n"
            "        return (windows * pattern).sum((2, 3)) / np.sqrt((windows**2).sum((2, 3)) * (pattern**2).sum())\n"
        ),
        "as large as the image": (
            "def correlate(image, template):\n    from skimage.feature import match_template\n"
            "    return match_template(image, template, pad_input=True)\n"
        ),
        "scikit-image": (
            "def correlate(image, template):\n    from skimage.feature import match_template\n    return match_template(image, template)\n"
        ),
    },
    "flow_step": {
        "down before across": (
            "def flow_step(first, second):\n    down, across = (g[1:-1, 1:-1].ravel() for g in np.gradient(first))\n"
            "    return np.linalg.lstsq(np.stack([down, across], 1), (first - second)[1:-1, 1:-1].ravel(), rcond=1e-9)[0]\n"
        ),
        "the other way": (
            "def flow_step(first, second):\n    down, across = (g[1:-1, 1:-1].ravel() for g in np.gradient(first))\n"
            "    return np.linalg.lstsq(np.stack([across, down], 1), (second - first)[1:-1, 1:-1].ravel(), rcond=1e-9)[0]\n"
        ),
        "each direction alone": (
            "def flow_step(first, second):\n    down, across = (g[1:-1, 1:-1].ravel() for g in np.gradient(first))\n"
            "    change = (first - second)[1:-1, 1:-1].ravel()\n"
            "    return np.array([across @ change / max(across @ across, 1e-9), down @ change / max(down @ down, 1e-9)])\n"
        ),
        "a system that stripes make singular": (
            "def flow_step(first, second):\n    down, across = (g[1:-1, 1:-1].ravel() for g in np.gradient(first))\n"
            "    s = np.stack([across, down], 1)\n    return np.linalg.solve(s.T @ s, s.T @ (first - second)[1:-1, 1:-1].ravel())\n"
        ),
        "only across": (
            "def flow_step(first, second):\n    across = np.gradient(first)[1][1:-1, 1:-1].ravel()\n"
            "    change = (first - second)[1:-1, 1:-1].ravel()\n"
            "    return np.array([across @ change / max(across @ across, 1e-9), 0.0])\n"
        ),
    },
    "follow": {
        "never looks outside of the window": FOLLOW.replace("near if near.max() >= floor else frame", "near"),
        "always the whole frame": FOLLOW.replace("near if near.max() >= floor else frame", "frame"),
        "the better of window and frame": FOLLOW.replace("near if near.max() >= floor else frame", "np.maximum(near, frame)"),
        "stays where it was when hidden": FOLLOW.replace("path.append((-1, -1))", "path.append(last)"),
        "forgets where it was seen last": FOLLOW.replace(
            "path.append((-1, -1))", "path.append((-1, -1))\n            last = (frame.shape[0] // 2, frame.shape[1] // 2)"
        ),
        "a score at the floor does not count": FOLLOW.replace(">= floor", "> floor"),
        "the window stays at the start": FOLLOW.replace("            last = place\n", ""),
        "a window one place too small": FOLLOW.replace("- window,", "- window + 1,").replace("+ window + 1", "+ window"),
    },
    "clip_vectors": {
        "the mean for both": "def clip_vectors(maps, question):\n    return maps.mean((1, 3, 4))\n",
        "the path for both": "def clip_vectors(maps, question):\n    return tracking.path_of_change(maps)\n",
        "means in the order of the frames": "def clip_vectors(maps, question):\n    return maps.mean((3, 4)).reshape(len(maps), -1)\n",
        "how much each channel changes": "def clip_vectors(maps, question):\n    return maps.std(1).mean((2, 3))\n",
        "too many numbers": "def clip_vectors(maps, question):\n    return maps.reshape(len(maps), -1)\n",
        "the path drowned among means": (
            "def clip_vectors(maps, question):\n"
            "    return np.concatenate([tracking.pool_what_moves(maps), 30 * tracking.path_of_change(maps)], 1)\n"
        ),
        "the two questions exchanged": (
            "def clip_vectors(maps, question):\n"
            "    return tracking.path_of_change(maps) if question == 'material' else tracking.pool_what_moves(maps)\n"
        ),
    },
    "my_tracker": {
        "the first template for ever": _track("update=0.0"),
        "always the latest": _track("update=1.0"),
        "a small update without a look at the score": _track("update=0.2"),
        "a very small update without a look at the score": _track("update=0.05"),
        "the half circle that the clips were made with": CIRCLE,
        "a window": _track("window=14, update=0.2"),
        "colours": (
            "def my_tracker(frames, centre, size):\n"
            "    return tracking.track(tracking.colour_maps(frames), centre, size, score=tracking.zero_mean)\n"
        ),
        "optical flow": "def my_tracker(frames, centre, size):\n    return tracking.follow_flow(frames, centre, size)\n",
        "stays where it is": "def my_tracker(frames, centre, size):\n    return np.tile(centre, (len(frames), 1))\n",
    },
}

RIGHT = {
    "correlate": {
        "a loop": (
            "def correlate(image, template):\n    k, l = template.shape\n"
            "    out = np.zeros((image.shape[0] - k + 1, image.shape[1] - l + 1))\n    b = template - template.mean()\n"
            "    for i in range(out.shape[0]):\n        for j in range(out.shape[1]):\n            a = image[i:i + k, j:j + l]\n"
            "            a = a - a.mean()\n            length = np.linalg.norm(a) * np.linalg.norm(b)\n"
            "            out[i, j] = (a * b).sum() / length if length > 1e-12 else 0\n    return out.tolist()\n"
        ),
    },
    "flow_step": {
        "the pseudo-inverse": (
            "def flow_step(first, second):\n    down, across = (g[1:-1, 1:-1].ravel() for g in np.gradient(first))\n"
            "    s = np.stack([across, down], 1)\n"
            "    return np.linalg.pinv(s.T @ s, rcond=1e-9) @ (s.T @ (first - second)[1:-1, 1:-1].ravel())\n"
        ),
    },
    "follow": {
        "slices": FOLLOW,
        "a list of tuples": FOLLOW.replace("return np.array(path)", "return path"),
    },
    "clip_vectors": {
        "the plain mean, and last minus first": (
            "def clip_vectors(maps, question):\n    if question == 'direction':\n"
            "        return (maps[:, -1] - maps[:, 0]).reshape(len(maps), -1)\n    return maps.mean((1, 3, 4))\n"
        ),
    },
    "my_tracker": {"a lower floor and a smaller update": MY_TRACKER},
}
