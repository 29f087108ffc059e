"""Wrong answers that learners give to the exercises of lesson 16, and right ones that differ from the reference."""

IOU = (
    "def iou(first, second):\n    a, b = first[:, None], second[None]\n"
    "    width = (torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)\n"
    "    height = (torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])).clamp(min=0)\n"
    "    areas = [(c[..., 2] - c[..., 0]) * (c[..., 3] - c[..., 1]) for c in (a, b)]\n"
    "    return width * height / (areas[0] + areas[1] - width * height + 1e-9)\n\n\n"
)
SUPPRESS = (
    "def suppress(boxes, scores, threshold):\n    kept = []\n    for place in scores.argsort(descending=True).tolist():\n"
    "        if all(detection.iou(boxes[[place]], boxes[[k]])[0, 0] <= threshold for k in kept):\n            kept.append(place)\n"
    "    return kept\n"
)
AP = (
    "def average_precision(scores, hits, objects):\n    order = np.argsort(-scores)\n    hits = hits[order]\n"
    "    if not len(hits):\n        return 0.0\n    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)\n"
)
ALIGN = (
    "def roi_align(maps, boxes, stride, bins):\n    part = (torch.arange(bins) + 0.5) / bins\n"
    "    x = boxes[:, 0:1] + (boxes[:, 2:3] - boxes[:, 0:1]) * part\n    y = boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * part\n"
    "    out = torch.zeros(len(boxes), len(maps), bins, bins)\n    for k in range(len(boxes)):\n"
    "        gy, gx = torch.meshgrid(y[k], x[k], indexing='ij')\n"
    "        grid = torch.stack([gx / (maps.shape[2] * stride), gy / (maps.shape[1] * stride)], -1)[None] * 2 - 1\n"
    "        out[k] = F.grid_sample(maps[None], grid, padding_mode='border', align_corners=False)[0]\n    return out\n"
)
DENSITY = (
    "def density_map(points, side, stride, sigma):\n    c = (np.arange(side // stride) + 0.5) * stride\n"
    "    total = np.zeros((len(c), len(c)))\n    for x, y in points:\n"
    "        hill = np.outer(np.exp(-((c - y) ** 2) / (2 * sigma**2)), np.exp(-((c - x) ** 2) / (2 * sigma**2)))\n"
    "        total += hill / hill.sum()\n    return total\n"
)
CHOOSE = "def choose(scores, hits, objects, alarm, miss):\n"

WRONG = {
    "iou": {
        "no clamp": IOU.replace(".clamp(min=0)", "") + SUPPRESS,
        "over the smaller box": IOU.replace("areas[0] + areas[1] - width * height + 1e-9", "torch.minimum(*areas) + 1e-9") + SUPPRESS,
        "the common area counts twice": IOU.replace(" - width * height + 1e-9", " + 1e-9") + SUPPRESS,
        "NaN for empty boxes": IOU.replace(" + 1e-9", "") + SUPPRESS,
        "a dropped box drops others": IOU + SUPPRESS.replace(
            "for k in kept", "for k in scores.argsort(descending=True).tolist() if scores[k] > scores[place]"
        ),
        "what reaches the threshold goes, too": IOU + SUPPRESS.replace("<= threshold", "< threshold"),
        "worst first": IOU + SUPPRESS.replace("descending=True", "descending=False"),
        "in the order of the list": IOU + SUPPRESS.replace("return kept", "return sorted(kept)"),
        "only the best": IOU + SUPPRESS.replace("return kept", "return kept[:1]"),
    },
    "average_precision": {
        "precision as it is": AP + "    return float(precision[hits].sum() / objects)\n",
        "divided by the hits": AP + (
            "    best = np.maximum.accumulate(precision[::-1])[::-1]\n    return float(best[hits].sum() / max(1, hits.sum()))\n"
        ),
        "not sorted": AP.replace("hits = hits[order]", "hits = np.asarray(hits)") + (
            "    best = np.maximum.accumulate(precision[::-1])[::-1]\n    return float(best[hits].sum() / objects)\n"
        ),
        "the best so far": AP + "    best = np.maximum.accumulate(precision)\n    return float(best[hits].sum() / objects)\n",
        "the mean of all precisions": AP + "    return float(precision.mean())\n",
    },
    "roi_align": {
        "corners aligned": ALIGN.replace("align_corners=False", "align_corners=True"),
        "x and y the wrong way round": ALIGN.replace("gy, gx = torch.meshgrid(y[k], x[k]", "gx, gy = torch.meshgrid(x[k], y[k]"),
        "from edge to edge": ALIGN.replace("(torch.arange(bins) + 0.5) / bins", "torch.linspace(0, 1, bins)"),
        "zeros outside": ALIGN.replace("padding_mode='border', ", ""),
        "square maps only": ALIGN.replace("maps.shape[1] * stride", "maps.shape[2] * stride"),
        "rounded": ALIGN.replace("    out =", "    x, y = (x / stride).floor() * stride, (y / stride).floor() * stride\n    out ="),
    },
    "density_map": {
        "scaled like one in the middle": DENSITY.replace("hill / hill.sum()", "hill / (2 * np.pi * (sigma / stride) ** 2)"),
        "the whole map scaled": DENSITY.replace("hill / hill.sum()", "hill").replace(
            "return total", "return total / max(total.sum(), 1e-9) * len(points)"
        ),
        "x and y the wrong way round": DENSITY.replace("for x, y", "for y, x"),
        "peaks of one": DENSITY.replace("hill / hill.sum()", "hill"),
        "corners of the cells": DENSITY.replace(" + 0.5", ""),
    },
    "choose": {
        "zero": CHOOSE + "    return 0.0\n",
        "as many as there are objects": CHOOSE + "    return float(np.sort(scores)[-objects])\n",
        "most right answers": CHOOSE + (
            "    c = np.unique(scores)\n    return float(c[np.argmax([((scores > t) == hits).mean() for t in c])])\n"
        ),
        "alarms do not matter": CHOOSE + "    return float(scores.min() - 1)\n",
        "the prices the wrong way round": CHOOSE + (
            "    c = np.unique(scores)\n    cost = [miss * ((scores > t) & ~hits).sum() - alarm * ((scores > t) & hits).sum() for t in c]\n"
            "    return float(c[int(np.argmin(cost))])\n"
        ),
    },
}

RIGHT = {
    "iou": {"against all that stay": IOU + SUPPRESS},
    "average_precision": {
        "step by step": (
            "def average_precision(scores, hits, objects):\n    order = sorted(range(len(scores)), key=lambda i: -scores[i])\n"
            "    found, points = 0, []\n    for n, i in enumerate(order, 1):\n        found += int(hits[i])\n"
            "        points.append((bool(hits[i]), found / n))\n"
            "    return sum(max(p for _, p in points[n:]) for n, (hit, _) in enumerate(points) if hit) / objects\n"
        ),
    },
    "roi_align": {"box by box": ALIGN},
    "density_map": {"as a product": DENSITY},
    "choose": {
        "sorted and summed up": CHOOSE + (
            "    order = np.argsort(-scores)\n    gain = np.cumsum(np.where(hits[order], miss, -alarm))\n"
            "    best = int(np.argmax(gain))\n    return float(scores[order][best]) - 1e-9 if gain[best] > 0 else float(scores.max())\n"
        ),
    },
}
