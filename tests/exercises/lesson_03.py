"""Wrong answers that learners give to the exercises of lesson 03, and right ones that differ from the reference."""

WRONG = {
    "freeze": {
        "gradients only": "def freeze(module):\n    return module.requires_grad_(False)",
        "evaluation mode only": "def freeze(module):\n    return module.eval()",
        "returns nothing": "def freeze(module):\n    module.requires_grad_(False)\n    module.eval()",
        "freezes a copy": "import copy\n\ndef freeze(module):\n    return copy.deepcopy(module).requires_grad_(False).eval()",
        "only the outermost layers": (
            "def freeze(module):\n    for child in module.children():\n        for p in child.parameters(recurse=False):\n"
            "            p.requires_grad = False\n    return module.eval()"
        ),
    },
    "preprocess": {
        "wraps around in uint8": (
            "def preprocess(images):\n    return torch.from_numpy((images - np.uint8(127)).astype(np.float32) / 128).permute(0, 3, 1, 2)"
        ),
        "scales to 0-1": "def preprocess(images):\n    return torch.from_numpy(images).float().permute(0, 3, 1, 2) / 255",
        "reshapes instead of permuting": (
            "def preprocess(images):\n    n, h, w, c = images.shape\n"
            "    return (torch.from_numpy(images).float().reshape(n, c, h, w) - 127) / 128"
        ),
        "channels last": "def preprocess(images):\n    return (torch.from_numpy(images).float() - 127) / 128",
        "float64": "def preprocess(images):\n    return torch.from_numpy((images.astype(float) - 127) / 128).permute(0, 3, 1, 2)",
    },
    "extract": {
        "in training mode": (
            "def extract(backbone, inputs, batch_size):\n    backbone.train()\n    with torch.no_grad():\n"
            "        return torch.cat([backbone(p) for p in inputs.split(batch_size)]).numpy()"
        ),
        "drops the last batch": (
            "def extract(backbone, inputs, batch_size):\n    mode = backbone.training\n    backbone.eval()\n    with torch.no_grad():\n"
            "        parts = [backbone(inputs[i * batch_size:(i + 1) * batch_size]) for i in range(len(inputs) // batch_size)]\n"
            "    backbone.train(mode)\n    return torch.cat(parts).numpy()"
        ),
        "leaves evaluation mode on": (
            "def extract(backbone, inputs, batch_size):\n    backbone.eval()\n    with torch.no_grad():\n"
            "        return torch.cat([backbone(p) for p in inputs.split(batch_size)]).numpy()"
        ),
        "returns a tensor": (
            "def extract(backbone, inputs, batch_size):\n    mode = backbone.training\n    backbone.eval()\n    with torch.no_grad():\n"
            "        out = torch.cat([backbone(p) for p in inputs.split(batch_size)])\n    backbone.train(mode)\n    return out"
        ),
    },
    "deeper_head": {
        "the optimiser holds everything": (
            "def deeper_head(model, hidden, classes):\n    model.features.requires_grad_(False).eval()\n"
            "    model.classifier = nn.Sequential(nn.Linear(model.classifier.in_features, hidden), nn.ReLU(), nn.Linear(hidden, classes))\n"
            "    return model, torch.optim.Adam(model.parameters(), lr=0.01)"
        ),
        "the body keeps counting": (
            "def deeper_head(model, hidden, classes):\n    model.features.requires_grad_(False)\n"
            "    model.classifier = nn.Sequential(nn.Linear(model.classifier.in_features, hidden), nn.ReLU(), nn.Linear(hidden, classes))\n"
            "    return model, torch.optim.Adam(model.classifier.parameters(), lr=0.01)"
        ),
        "no ReLU": (
            "def deeper_head(model, hidden, classes):\n    model.features.requires_grad_(False).eval()\n"
            "    model.classifier = nn.Sequential(nn.Linear(model.classifier.in_features, hidden), nn.Linear(hidden, classes))\n"
            "    return model, torch.optim.Adam(model.classifier.parameters(), lr=0.01)"
        ),
        "optimiser made before the head": (
            "def deeper_head(model, hidden, classes):\n    model.features.requires_grad_(False).eval()\n"
            "    optimizer = torch.optim.Adam(model.classifier.parameters(), lr=0.01)\n"
            "    model.classifier = nn.Sequential(nn.Linear(model.classifier.in_features, hidden), nn.ReLU(), nn.Linear(hidden, classes))\n"
            "    return model, optimizer"
        ),
    },
    "choose_features": {
        "training accuracy of the probe itself": (
            "def choose_features(candidates, labels):\n"
            "    return max(candidates, key=lambda n: features.linear_probe(candidates[n], labels).score(candidates[n], labels))"
        ),
        "always the last layer": "def choose_features(candidates, labels):\n    return 'head'",
        "always pixels": "def choose_features(candidates, labels):\n    return 'pixels'",
        "the fewest numbers": (
            "def choose_features(candidates, labels):\n"
            "    return min(candidates, key=lambda name: candidates[name].shape[1])"
        ),
        "an index instead of a name": "def choose_features(candidates, labels):\n    return 0",
    },
}

RIGHT = {
    "freeze": {
        "a loop over the parameters": (
            "def freeze(module):\n    for p in module.parameters():\n        p.requires_grad = False\n    return module.train(False)"
        ),
    },
    "preprocess": {
        "NumPy first": (
            "def preprocess(images):\n    return torch.tensor(((images.astype('float32') - 127) / 128).transpose(0, 3, 1, 2))"
        ),
        "affine form": "def preprocess(images):\n    return torch.from_numpy(images.copy()).movedim(-1, 1).float() / 128 - 127 / 128",
    },
    "extract": {
        "inference mode and slices": (
            "def extract(backbone, inputs, batch_size):\n    mode, rows = backbone.training, []\n    backbone.eval()\n"
            "    with torch.inference_mode():\n        for i in range(0, len(inputs), batch_size):\n"
            "            rows.extend(backbone(inputs[i:i + batch_size]).tolist())\n    backbone.train(mode)\n    return np.array(rows)"
        ),
    },
    "deeper_head": {
        "SGD, and gradients switched off one by one": (
            "def deeper_head(model, hidden, classes):\n    for p in model.features.parameters():\n        p.requires_grad = False\n"
            "    model.features.eval()\n    first = nn.Linear(model.classifier.in_features, hidden)\n"
            "    model.classifier = nn.Sequential(first, nn.ReLU(), nn.Linear(hidden, classes))\n"
            "    return model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)"
        ),
    },
    "choose_features": {
        "leave-one-out nearest class mean": (
            "def choose_features(candidates, labels):\n    from sklearn.model_selection import cross_val_predict, LeaveOneOut\n"
            "    from sklearn.linear_model import RidgeClassifier\n    from sklearn.pipeline import make_pipeline\n"
            "    from sklearn.preprocessing import StandardScaler\n    def score(v):\n"
            "        model = make_pipeline(StandardScaler(), RidgeClassifier(100.0))\n"
            "        return (cross_val_predict(model, v, labels, cv=10) == labels).mean()\n"
            "    return max(candidates, key=lambda name: score(candidates[name]))"
        ),
    },
}
