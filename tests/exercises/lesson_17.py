"""Wrong answers that learners give to the exercises of lesson 17, and right ones that differ from the reference."""

READ_HEAD = (
    "def read(weights, stride, window):\n    n, rows, columns = weights.shape\n"
    "    x, y = (torch.arange(columns) + 0.5) * stride, (torch.arange(rows) + 0.5) * stride\n"
    "    best = weights.reshape(n, -1).argmax(1)\n    bx, by = x[best % columns], y[best // columns]\n"
)
MASS = (
    "    w = weights * ((y - by[:, None]).abs() < window)[:, :, None] * ((x - bx[:, None]).abs() < window)[:, None]\n"
    "    w = w / w.sum((1, 2), keepdim=True)\n    return torch.stack([(w.sum(1) * x).sum(1), (w.sum(2) * y).sum(1)], 1)\n"
)
IOU = (
    "def mask_iou(masks, truth):\n    both = (masks * truth).sum((1, 2))\n    either = masks.sum((1, 2)) + truth.sum((1, 2)) - both\n"
    "    return np.array([b / e if e else 1.0 for b, e in zip(both, either)])\n\n\n"
)
CELLS = (
    "def in_cells(masks, stride):\n    m = torch.tensor(masks).float()[:, None]\n    share = F.avg_pool2d(m, stride)\n"
    "    return (F.interpolate(share, scale_factor=stride)[:, 0] >= 0.5).numpy()\n"
)
PSNR = (
    "def psnr(image, reference):\n    e = ((image - reference) ** 2).mean()\n"
    "    return -10 * np.log10(e) if e > 0 else float('inf')\n\n\n"
)
CHOOSE = (
    "def choose(picture):\n    a, b = (sr.judge(sr.load_upscaler(s, 0), picture) for s in ('photographs', 'rendered text'))\n"
    "    return 'photographs' if a >= b else 'rendered text'\n"
)
SILENT = (
    "def silent(net, inputs, targets):\n    net.zero_grad()\n    F.mse_loss(net(inputs), targets).backward()\n"
    "    return sorted(n for n, p in net.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0)\n\n\n"
)
WAKE = (
    "def wake(net):\n    for layer in net[:-1]:\n        if isinstance(layer, nn.Conv2d) and float(layer.weight.abs().max()) == 0:\n"
    "            nn.init.kaiming_normal_(layer.weight)\n    return net\n"
)
SEGMENT = "def segment(picture):\n    from scipy import ndimage\n    from skimage import filters\n"

WRONG = {
    "read": {
        "the highest cell": READ_HEAD + "    return torch.stack([bx, by], 1)\n",
        "no window": READ_HEAD + (
            "    w = weights / weights.sum((1, 2), keepdim=True)\n"
            "    return torch.stack([(w.sum(1) * x).sum(1), (w.sum(2) * y).sum(1)], 1)\n"
        ),
        "x and y exchanged": READ_HEAD + MASS.replace("], 1)", "], 1).flip(1)"),
        "corners instead of middles": READ_HEAD.replace(" + 0.5", "") + MASS,
        "the window's edge belongs to it": READ_HEAD + MASS.replace("< window", "<= window"),
        "one highest cell for all maps": READ_HEAD.replace(
            "weights.reshape(n, -1).argmax(1)", "weights.sum(0).flatten().argmax().repeat(n)"
        ) + MASS,
        "in cells": READ_HEAD + MASS.replace(", 1)\n", ", 1) / stride\n"),
    },
    "mask_iou": {
        "accuracy": "def mask_iou(masks, truth):\n    return (masks == truth).mean((1, 2))\n\n\n" + CELLS,
        "two empty masks are NaN": (
            "def mask_iou(masks, truth):\n    with np.errstate(invalid='ignore'):\n"
            "        return (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2))\n\n\n" + CELLS
        ),
        "Dice": (
            "def mask_iou(masks, truth):\n    total = masks.sum((1, 2)) + truth.sum((1, 2))\n"
            "    return np.where(total, 2 * (masks & truth).sum((1, 2)) / np.maximum(total, 1), 1.0)\n\n\n" + CELLS
        ),
        "over all images together": (
            "def mask_iou(masks, truth):\n    return np.full(len(masks), (masks & truth).sum() / (masks | truth).sum())\n\n\n" + CELLS
        ),
        "more than half": IOU + CELLS.replace(">= 0.5", "> 0.5"),
        "any pixel fills a cell": IOU + CELLS.replace(">= 0.5", "> 0"),
        "left small": IOU + (
            "def in_cells(masks, stride):\n    n, h, w = masks.shape\n"
            "    return masks.reshape(n, h // stride, stride, w // stride, stride).mean((2, 4)) >= 0.5\n"
        ),
    },
    "choose": {
        "always photographs": PSNR + "def choose(picture):\n    return 'photographs'\n",
        "always text": PSNR + "def choose(picture):\n    return 'rendered text'\n",
        "the worse one": PSNR + CHOOSE.replace("a >= b", "a < b"),
        "a source that there is not": PSNR + "def choose(picture):\n    return 'text'\n",
        "sharp pictures are text": PSNR + (
            "def choose(picture):\n    return 'rendered text' if abs(np.diff(picture)).mean() > 0.03 else 'photographs'\n"
        ),
        "light pictures are text": PSNR + "def choose(picture):\n    return 'rendered text' if picture.mean() > 0.2 else 'photographs'\n",
        "20 log": "def psnr(image, reference):\n    return 20 * np.log10(1 / ((image - reference) ** 2).mean())\n\n\n" + CHOOSE,
        "equal images divide by zero": (
            "def psnr(image, reference):\n    with np.errstate(divide='ignore'):\n"
            "        return min(10 * np.log10(1 / ((image - reference) ** 2).mean()), 100.0)\n\n\n" + CHOOSE
        ),
        "mean of the absolute error": (
            "def psnr(image, reference):\n    e = abs(image - reference).mean()\n"
            "    return -20 * np.log10(e) if e > 0 else float('inf')\n\n\n" + CHOOSE
        ),
    },
    "silent": {
        "names the zero weights": (
            "def silent(net, inputs, targets):\n    return sorted(n for n, p in net.named_parameters() if not p.any())\n\n\n" + WAKE
        ),
        "only weights": SILENT.replace("if p.grad is None or", "if n.endswith('weight') and") + WAKE,
        "small gradients count as zero": SILENT.replace("== 0)", "< 1e-3)") + WAKE,
        "gradients of earlier steps are added": SILENT.replace("    net.zero_grad()\n", "") + WAKE,
        "trains while it looks": SILENT.replace("    return", "    torch.optim.SGD(net.parameters(), 0.1).step()\n    return") + WAKE,
        "nothing is done": SILENT + "def wake(net):\n    return net\n",
        "the last layer is woken, too": SILENT + WAKE.replace("net[:-1]", "net"),
        "everything is drawn anew": SILENT + WAKE.replace(" and float(layer.weight.abs().max()) == 0", ""),
        "only the last layer is drawn anew": SILENT + "def wake(net):\n    nn.init.normal_(net[-1].weight)\n    return net\n",
        "ones": SILENT + (
            "def wake(net):\n    for layer in net:\n        if isinstance(layer, nn.Conv2d) and not layer.weight.any():\n"
            "            nn.init.ones_(layer.bias)\n    return net\n"
        ),
    },
    "segment": {
        "the watershed's grey levels": "def segment(picture):\n    return coins.classical_mask(picture)\n",
        "one threshold": SEGMENT + "    return ndimage.binary_fill_holes(picture > filters.threshold_otsu(picture))\n",
        "everything": "def segment(picture):\n    return np.ones(picture.shape, bool)\n",
        "a small neighbourhood": SEGMENT + "    return picture > filters.threshold_local(picture, 25)\n",
        "the old mask": "def segment(picture):\n    return coins.right_half()[1]\n",
        "the tests' mask": "def segment(picture):\n    return truth\n",
        "the noise is not smoothed": SEGMENT + (
            "    return ndimage.binary_fill_holes(picture > filters.threshold_local(picture, 151))\n"
        ),
        "numbers, not booleans": SEGMENT + "    return (picture > filters.threshold_local(picture, 151)).astype(int)\n",
    },
}

RIGHT = {
    "read": {
        "middles by adding a half": READ_HEAD + MASS,
        "map by map": (
            "def read(weights, stride, window):\n    out = []\n    for m in weights:\n"
            "        i, j = np.unravel_index(int(m.argmax()), m.shape)\n        ys, xs = torch.meshgrid(\n"
            "            torch.arange(m.shape[0]), torch.arange(m.shape[1]), indexing='ij')\n"
            "        keep = m * ((ys - i).abs() * stride < window) * ((xs - j).abs() * stride < window)\n"
            "        out.append([float((keep * (v + 0.5)).sum() / keep.sum()) * stride for v in (xs, ys)])\n"
            "    return torch.tensor(out)\n"
        ),
    },
    "mask_iou": {"by counts, and by pooling": IOU + CELLS},
    "choose": {"compared one scale below": PSNR + CHOOSE},
    "silent": {
        "backward, and Kaiming": SILENT + WAKE,
        "in the order of the net": SILENT.replace("sorted(", "list(") + WAKE,
    },
    "segment": {
        "a median, then a local threshold": SEGMENT + (
            "    p = ndimage.median_filter(picture, 5)\n"
            "    return ndimage.binary_fill_holes(p > filters.threshold_local(p, 151))\n"
        ),
        "brighter than the mean of a box": SEGMENT + (
            "    p = filters.gaussian(picture.astype(float), 1.5)\n    level = ndimage.uniform_filter(p, 121)\n"
            "    return ndimage.binary_opening(ndimage.binary_fill_holes(p > level), iterations=2)\n"
        ),
    },
}
