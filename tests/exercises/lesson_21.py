"""Wrong answers that learners give to the exercises of lesson 21, and right ones that differ from the reference."""

NORMALISE = (
    "    n = nn.Conv2d(3, 3, 1, groups=3).requires_grad_(False)\n    n.weight.copy_(1 / torch.tensor(spread).reshape(3, 1, 1, 1))\n"
    "    n.bias.copy_(-torch.tensor(mean) / torch.tensor(spread))\n"
)
RESIZE = "nn.Upsample(size=(side, side), mode='bilinear', align_corners=False)"
ROWS = "    rows = np.asarray(weights, np.float64).reshape(len(weights), -1)\n"
WIDEN = "    low, high = min(low, 0.0), max(high, 0.0)\n    scale = (high - low) / 255 or 1.0\n"
CHOOSE = "def choose_file(files, max_megabytes, max_loss):\n"
GOOD = (
    "    original = files['original']['correct'].mean()\n"
    "    good = [n for n, f in files.items() if f['megabytes'] <= max_megabytes and f['correct'].mean() >= original - max_loss]\n"
    "    if not good:\n        raise ValueError('no file fits these budgets')\n"
)
READ = (
    "def read_request(body):\n    if len(body) > 100_000:\n        return 413, 'this body is too large'\n    try:\n"
    "        request = json.loads(body)\n    except (ValueError, RecursionError):\n        return 400, 'this is not valid JSON'\n"
    "    if not isinstance(request, dict):\n        return 400, 'this JSON is no object'\n    wrong = 422, 'pixels or top are wrong'\n"
)
TOP = "    top = request.get('top', 1)\n    if type(top) is not int or not 1 <= top <= 19:\n        return wrong\n"
ERROR = "    error = reference.std(0, ddof=1) * np.sqrt(1 / len(reference) + 1 / len(window))\n"

WRONG = {
    "deployable": {
        "left in training mode": (
            "def deployable(net, mean, spread, side):\n" + NORMALISE + f"    return nn.Sequential(Pixels(), {RESIZE}, n, net).train()"
        ),
        "without a size": "def deployable(net, mean, spread, side):\n" + NORMALISE + "    return nn.Sequential(Pixels(), n, net).eval()",
        "divides by 255 first": (
            "def deployable(net, mean, spread, side):\n" + NORMALISE +
            f"    n.weight.div_(255)\n    return nn.Sequential(Pixels(), {RESIZE}, n, net).eval()"
        ),
        "the shift is not scaled": (
            "def deployable(net, mean, spread, side):\n" + NORMALISE +
            f"    n.bias.copy_(-torch.tensor(mean))\n    return nn.Sequential(Pixels(), {RESIZE}, n, net).eval()"
        ),
        "statistics of the picture instead": (
            f"def deployable(net, mean, spread, side):\n    return nn.Sequential(Pixels(), {RESIZE}, nn.InstanceNorm2d(3), net).eval()"
        ),
        "nearest neighbour": (
            "def deployable(net, mean, spread, side):\n" + NORMALISE +
            "    return nn.Sequential(Pixels(), nn.Upsample(size=(side, side)), n, net).eval()"
        ),
        "the sizes of the example": (
            "def deployable(net, mean, spread, side):\n" + NORMALISE +
            "    up = nn.Upsample(size=(8, 8), mode='bilinear')\n    return nn.Sequential(Pixels(), up, n, net).eval()"
        ),
        "the first channel's shift for all": (
            "def deployable(net, mean, spread, side):\n" + NORMALISE + "    n.bias.copy_(n.bias[:1].expand(3))\n"
            f"    return nn.Sequential(Pixels(), {RESIZE}, n, net).eval()"
        ),
        "changes the lists that the reference reads": (
            "def deployable(net, mean, spread, side):\n    mean[:], spread[:] = [0.0] * 3, [1.0] * 3\n"
            f"    return nn.Sequential(Pixels(), {RESIZE}, net).eval()"
        ),
        "only the net": "def deployable(net, mean, spread, side):\n    return net.eval()",
    },
    "quantise_weights": {
        "one scale for all": (
            "def quantise_weights(weights):\n    scale = np.abs(weights).max() / 127 or 1.0\n"
            "    return np.rint(weights / scale).astype(np.int8), np.full(len(weights), scale)"
        ),
        "cuts instead of rounding": (
            "def quantise_weights(weights):\n" + ROWS + "    largest = np.abs(rows).max(1)\n"
            "    scales = np.where(largest > 0, largest, 1) / 127\n"
            "    return (rows / scales[:, None]).astype(np.int8).reshape(weights.shape), scales"
        ),
        "divides by 128": (
            "def quantise_weights(weights):\n" + ROWS + "    largest = np.abs(rows).max(1)\n"
            "    scales = np.where(largest > 0, largest, 1) / 128\n"
            "    return np.rint(rows / scales[:, None]).astype(np.int8).reshape(weights.shape), scales"
        ),
        "forgets negative weights": (
            "def quantise_weights(weights):\n" + ROWS + "    largest = rows.max(1)\n    scales = np.where(largest > 0, largest, 1) / 127\n"
            "    return np.clip(np.rint(rows / scales[:, None]), -127, 127).astype(np.int8).reshape(weights.shape), scales"
        ),
        "divides a channel of zeros by zero": (
            "def quantise_weights(weights):\n" + ROWS + "    scales = np.abs(rows).max(1) / 127\n"
            "    return np.rint(rows / scales[:, None]).astype(np.int8).reshape(weights.shape), scales"
        ),
        "a scale for each input": (
            "def quantise_weights(weights):\n    columns = np.moveaxis(weights, 1, 0)\n"
            "    scales = np.maximum(np.abs(columns.reshape(len(columns), -1)).max(1), 1e-9) / 127\n"
            "    shape = [1, -1] + [1] * (weights.ndim - 2)\n    return np.rint(weights / scales.reshape(shape)).astype(np.int8), scales"
        ),
        "only for two dimensions": (
            "def quantise_weights(weights):\n    scales = np.maximum(np.abs(weights).max(1), 1e-9) / 127\n"
            "    if weights.ndim > 2:\n        return np.zeros(weights.shape, np.int8), np.ones(len(weights))\n"
            "    return np.rint(weights / scales[:, None]).astype(np.int8), scales"
        ),
    },
    "quantise_map": {
        "wraps around": (
            "def quantise_map(values, low, high):\n" + WIDEN + "    zero = round(-low / scale)\n"
            "    return np.rint(values / scale + zero).astype(np.int64).astype(np.uint8), scale, zero"
        ),
        "the range without 0": (
            "def quantise_map(values, low, high):\n    scale = (high - low) / 255 or 1.0\n    zero = round(-low / scale)\n"
            "    return np.clip(np.rint(values / scale + zero), 0, 255).astype(np.uint8), scale, zero"
        ),
        "symmetric": (
            "def quantise_map(values, low, high):\n    scale = max(abs(low), abs(high)) / 127 or 1.0\n"
            "    return np.clip(np.rint(values / scale + 128), 0, 255).astype(np.uint8), scale, 128"
        ),
        "zero point not rounded": (
            "def quantise_map(values, low, high):\n" + WIDEN +
            "    return np.clip(np.rint((values - low) / scale), 0, 255).astype(np.uint8), scale, -low / scale"
        ),
        "no zero point": (
            "def quantise_map(values, low, high):\n" + WIDEN +
            "    return np.clip(np.rint(values / scale), 0, 255).astype(np.uint8), scale, 0"
        ),
        "256 steps": (
            "def quantise_map(values, low, high):\n    low, high = min(low, 0.0), max(high, 0.0)\n    scale = (high - low) / 256 or 1.0\n"
            "    zero = round(-low / scale)\n    return np.clip(np.rint(values / scale + zero), 0, 255).astype(np.uint8), scale, zero"
        ),
    },
    "choose_file": {
        "the mean time": (
            CHOOSE + GOOD + "    return min(good, key=lambda n: files[n]['milliseconds'].mean())"
        ),
        "the first round": (
            CHOOSE + GOOD + "    return min(good, key=lambda n: files[n]['milliseconds'][0])"
        ),
        "the most accurate that is small": (
            CHOOSE + GOOD + "    return max(good, key=lambda n: files[n]['correct'].mean())"
        ),
        "the smallest": "def choose_file(files, max_megabytes, max_loss):\n    return min(files, key=lambda n: files[n]['megabytes'])",
        "the fastest, whatever it loses": (
            "def choose_file(files, max_megabytes, max_loss):\n    small = [n for n in files if files[n]['megabytes'] <= max_megabytes]\n"
            "    if not small:\n        raise ValueError('no file is so small')\n"
            "    return min(small, key=lambda n: np.median(files[n]['milliseconds']))"
        ),
        "the fastest, however large": (
            "def choose_file(files, max_megabytes, max_loss):\n    original = files['original']['correct'].mean()\n"
            "    good = [n for n in files if files[n]['correct'].mean() >= original - max_loss]\n"
            "    return min(good, key=lambda n: np.median(files[n]['milliseconds']))"
        ),
        "the original when nothing fits": (
            CHOOSE + GOOD.replace("raise ValueError('no file fits these budgets')",
                                                                               "return 'original'") +
            "    return min(good, key=lambda n: np.median(files[n]['milliseconds']))"
        ),
        "an index": "def choose_file(files, max_megabytes, max_loss):\n    return 0",
    },
    "read_request": {
        "trusts what arrives": (
            "def read_request(body):\n    request = json.loads(body)\n"
            "    return 200, {'pixels': np.array(request['pixels'], np.uint8), 'top': request.get('top', 1)}"
        ),
        "everything wrong is 400": (
            "def read_request(body):\n    try:\n        request = json.loads(body)\n        pixels = np.array(request['pixels'])\n"
            "        assert pixels.dtype.kind == 'i' and pixels.ndim == 3 and pixels.shape[2] == 3\n"
            "        assert 0 <= pixels.min() and pixels.max() < 256\n"
            "        return 200, {'pixels': pixels.astype(np.uint8), 'top': request.get('top', 1)}\n"
            "    except Exception:\n        return 400, 'this is a bad request'"
        ),
        "true is a number": READ + (
            "    top = request.get('top', 1)\n    if not isinstance(top, int) or not 1 <= top <= 19:\n        return wrong\n    try:\n"
            "        pixels = np.array(request['pixels'])\n        pixels = pixels.astype(int) if pixels.dtype == object else pixels\n"
            "    except Exception:\n        return wrong\n"
            "    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype.kind not in 'bi' or not pixels.size:\n        return wrong\n"
            "    if max(pixels.shape) > 64 or pixels.min() < 0 or pixels.max() > 255:\n        return wrong\n"
            "    return 200, {'pixels': pixels.astype(np.uint8), 'top': top}"
        ),
        "clips what is out of range": READ + TOP + (
            "    try:\n        pixels = np.clip(np.array(request['pixels'], float), 0, 255).astype(np.uint8)\n"
            "    except Exception:\n        return wrong\n    if pixels.ndim != 3 or pixels.shape[2] != 3 or max(pixels.shape) > 64:\n"
            "        return wrong\n    return 200, {'pixels': pixels, 'top': top}"
        ),
        "deep nesting ends the service": (
            READ.replace("(ValueError, RecursionError)", "ValueError") + TOP +
            "    try:\n        pixels = np.array(request.get('pixels'), object)\n    except Exception:\n        return wrong\n"
            "    if pixels.ndim != 3 or pixels.shape[2] != 3 or max(pixels.shape) > 64 or not pixels.size:\n        return wrong\n"
            "    if not all(type(v) is int and 0 <= v <= 255 for v in pixels.ravel()):\n        return wrong\n"
            "    return 200, {'pixels': pixels.astype(np.uint8), 'top': top}"
        ),
        "no sentence": (
            "def read_request(body):\n    try:\n        request = json.loads(body)\n    except Exception:\n        return 400, 'error'\n"
            "    return 422, 'error'"
        ),
        "refuses everything": "def read_request(body):\n    return 422, 'this request is not good'",
    },
    "alarm": {
        "rate for each column": (
            "def alarm(reference, window, rate):\n" + ERROR +
            "    z = np.abs(window.mean(0) - reference.mean(0)) / error\n    return bool((z > stats.norm.isf(rate / 2)).any())"
        ),
        "any unusual request": (
            "def alarm(reference, window, rate):\n    z = np.abs(window - reference.mean(0)) / reference.std(0)\n"
            "    return bool((z > stats.norm.isf(rate / 2 / reference.shape[1])).any())"
        ),
        "half a standard deviation": (
            "def alarm(reference, window, rate):\n"
            "    return bool((np.abs(window.mean(0) - reference.mean(0)) > 0.5 * reference.std(0)).any())"
        ),
        "the average column": (
            "def alarm(reference, window, rate):\n" + ERROR +
            "    z = np.abs(window.mean(0) - reference.mean(0)) / error\n    return bool(z.mean() > stats.norm.isf(rate / 2))"
        ),
        "a fixed number of standard errors": (
            "def alarm(reference, window, rate):\n" + ERROR +
            "    return bool((np.abs(window.mean(0) - reference.mean(0)) / error > 4).any())"
        ),
        "the reference without an error of its own": (
            "def alarm(reference, window, rate):\n    error = reference.std(0, ddof=1) / np.sqrt(len(window))\n"
            "    z = np.abs(window.mean(0) - reference.mean(0)) / error\n"
            "    return bool((z > stats.norm.isf(rate / 2 / reference.shape[1])).any())"
        ),
        "counts its calls": (
            "calls = {}\ndef alarm(reference, window, rate):\n    key = len(reference), len(window), rate\n"
            "    calls[key] = calls.get(key, 0) + 1\n    return calls[key] > 150"
        ),
        "any difference": "def alarm(reference, window, rate):\n    return bool((window.mean(0) != reference.mean(0)).any())",
        "never": "def alarm(reference, window, rate):\n    return False",
        "only upwards": (
            "def alarm(reference, window, rate):\n" + ERROR +
            "    z = (window.mean(0) - reference.mean(0)) / error\n    return bool((z > stats.norm.isf(rate / reference.shape[1])).any())"
        ),
    },
}

RIGHT = {
    "deployable": {
        "BatchNorm at rest": (
            "def deployable(net, mean, spread, side):\n    n = nn.BatchNorm2d(3, eps=0.0, affine=False)\n"
            "    n.running_mean.copy_(torch.tensor(mean))\n    n.running_var.copy_(torch.tensor(spread) ** 2)\n"
            f"    return nn.Sequential(Pixels(), {RESIZE}, n, net).eval()"
        ),
        "the scale before the size, nested": (
            "def deployable(net, mean, spread, side):\n    n = nn.Conv2d(3, 3, 1)\n    with torch.no_grad():\n"
            "        n.weight.copy_(torch.diag(1 / torch.tensor(spread)).reshape(3, 3, 1, 1))\n"
            "        n.bias.copy_(-torch.tensor(mean) / torch.tensor(spread))\n"
            f"    return nn.Sequential(nn.Sequential(Pixels(), n, {RESIZE}), net.eval()).eval()"
        ),
    },
    "quantise_weights": {
        "channel by channel": (
            "def quantise_weights(weights):\n    codes, scales = np.zeros(weights.shape, np.int8), []\n"
            "    for place, channel in enumerate(weights):\n        scale = float(np.abs(channel).max()) / 127\n"
            "        scales.append(scale if scale > 0 else 1.0)\n        codes[place] = np.round(channel / scales[-1])\n"
            "    return codes, np.array(scales)"
        ),
        "in PyTorch": (
            "def quantise_weights(weights):\n    w = torch.from_numpy(weights).double()\n"
            "    scales = w.flatten(1).abs().amax(1).clamp_min(1e-30) / 127\n"
            "    codes = (w / scales.reshape(-1, *[1] * (w.ndim - 1))).round().clamp(-127, 127).to(torch.int8)\n"
            "    return codes.numpy(), scales.numpy()"
        ),
    },
    "quantise_map": {
        "with linspace's idea": (
            "def quantise_map(values, low, high):\n    low, high = np.minimum(low, 0), np.maximum(high, 0)\n"
            "    scale = np.float64((high - low) / 255 if high > low else 1)\n    zero = int(np.floor(-low / scale + 0.5))\n"
            "    codes = np.floor(values / scale + zero + 0.5)\n    codes[codes < 0], codes[codes > 255] = 0, 255\n"
            "    return codes.astype(np.uint8), scale, zero"
        ),
    },
    "choose_file": {
        "the fastest round": (
            CHOOSE + GOOD + "    return min(good, key=lambda n: np.min(files[n]['milliseconds']))"
        ),
        "median of the ratios within a round": (
            CHOOSE + GOOD + "    base = files['original']['milliseconds']\n"
            "    return sorted(good, key=lambda n: np.median(files[n]['milliseconds'] / base))[0]"
        ),
    },
    "read_request": {
        "one function that raises, and one that answers": (
            "def read_request(body):\n    if len(body) > 100_000:\n        return 413, 'the body is too large: send less'\n    try:\n"
            "        request = json.loads(body.decode())\n        if not isinstance(request, dict):\n            raise ValueError\n"
            "    except Exception:\n        return 400, 'the body is not a JSON object'\n    try:\n"
            "        pixels = np.array(request['pixels'], dtype=object)\n        top = request.get('top', 1)\n"
            "        if pixels.ndim != 3 or pixels.shape[2] != 3 or not all(1 <= side <= 64 for side in pixels.shape[:2]):\n"
            "            raise ValueError\n        if not all(type(v) is int and 0 <= v < 256 for v in [*pixels.ravel()]):\n"
            "            raise ValueError\n        if type(top) is not int or top not in range(1, 20):\n            raise ValueError\n"
            "    except Exception:\n        return 422, 'pixels or top are missing or wrong'\n"
            "    return 200, {'top': top, 'pixels': pixels.astype(np.uint8)}"
        ),
    },
    "alarm": {
        "Welch's test": (
            "def alarm(reference, window, rate):\n    p = stats.ttest_ind(reference, window, equal_var=False).pvalue\n"
            "    return bool(p.min() * reference.shape[1] < rate)"
        ),
        "Sidak": (
            "def alarm(reference, window, rate):\n" + ERROR + "    d = reference.shape[1]\n"
            "    limit = stats.norm.isf((1 - (1 - rate) ** (1 / d)) / 2)\n"
            "    return (np.abs(window.mean(0) - reference.mean(0)) / error).max() > limit"
        ),
        "Kolmogorov and Smirnov": (
            "def alarm(reference, window, rate):\n    d = reference.shape[1]\n"
            "    return any(stats.ks_2samp(reference[:, c], window[:, c], method='asymp').pvalue < rate / d for c in range(d))"
        ),
    },
}
