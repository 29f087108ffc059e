"""Wrong answers that learners give to the exercises of lesson 05, and right ones that differ from the reference."""

STAGES = '''
def two_stages(images, labels, base_weights):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    base, head = make_base(), layers.Dense({classes})
    base.set_weights(base_weights)
    base.trainable = {freeze}
    inputs = layers.Input(images.shape[1:])
    model = keras.Model(inputs, head(layers.GlobalAveragePooling2D()(base(inputs{written}))))
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    model.fit(images, labels, epochs=3, verbose=0)
    after_head = [array.copy() for array in base.get_weights()]
    {unfreeze}
    {compile}
    model.fit(images, labels, epochs=3, verbose=0)
    return {{"after_head": after_head, "after_tuning": base.get_weights(), "head": head.get_weights()}}
'''
RIGHT_STAGES = {
    "freeze": "False", "written": "", "classes": "int(labels.max()) + 1",
    "unfreeze": "base.trainable = True\n    for layer in base.layers:\n        layer.trainable = 'batch' not in layer.name",
    "compile": "model.compile(keras.optimizers.SGD(0.01), loss=loss)",
}  # fmt: skip


def stages(**changes: str) -> str:
    return STAGES.format(**{**RIGHT_STAGES, **changes})


PORT = (
    "def port_layer(kind, arrays):\n    if kind == 'batchnorm':\n        return [arrays[n] for n in {norm}]\n"
    "    axes = {{'conv': {conv}, 'depthwise': {depthwise}, 'linear': (1, 0)}}[kind]\n"
    "    kernel = arrays['weight'].transpose(axes)\n    {end}"
)
RIGHT_PORT = {
    "norm": "('weight', 'bias', 'running_mean', 'running_var')", "conv": "(2, 3, 1, 0)", "depthwise": "(2, 3, 0, 1)",
    "end": "return [kernel, arrays['bias']] if 'bias' in arrays else [kernel]",
}  # fmt: skip


def port(**changes: str) -> str:
    return PORT.format(**{**RIGHT_PORT, **changes})


WRONG = {
    "port_layer": {
        "the window turned": port(conv="(3, 2, 1, 0)", depthwise="(3, 2, 0, 1)"),
        "depthwise like a convolution": port(depthwise="(2, 3, 1, 0)"),
        "reshape instead of transpose": (
            "def port_layer(kind, arrays):\n    if kind == 'batchnorm':\n        return list(arrays.values())\n    w = arrays['weight']\n"
            "    if kind == 'conv':\n        w = w.reshape(w.shape[2], w.shape[3], w.shape[1], w.shape[0])\n"
            "    elif kind == 'depthwise':\n        w = w.reshape(w.shape[2], w.shape[3], w.shape[0], 1)\n    else:\n        w = w.T\n"
            "    return [w] + ([arrays['bias']] if 'bias' in arrays else [])"
        ),
        "beta before gamma": port(norm="('bias', 'weight', 'running_mean', 'running_var')"),
        "forgets the statistics": port(norm="('weight', 'bias')"),
        "forgets the bias": port(end="return [kernel]"),
    },
    "base_moves": {
        "believes the flag": (
            "def base_moves(actions):\n    flag, out = True, []\n    for a in actions:\n        if a == 'fit':\n"
            "            out.append(flag)\n"
            "        elif a != 'compile':\n            flag = a == 'unfreeze'\n    return out"
        ),
        "never": "def base_moves(actions):\n    return [False for a in actions if a == 'fit']",
        "freezing works at once, unfreezing after compile": (
            "def base_moves(actions):\n    flag = compiled = True\n    out = []\n    for a in actions:\n        if a == 'fit':\n"
            "            out.append(flag and compiled)\n        elif a == 'compile':\n            compiled = flag\n        else:\n"
            "            flag = a == 'unfreeze'\n    return out"
        ),
        "only the last fit": "def base_moves(actions):\n    return [actions[-2] != 'freeze']",
    },
    "diagnose": {
        "always the same": "def diagnose(message):\n    return 'channels first'",
        "compares whole messages": (
            "def diagnose(message):\n    known = {line: mistake for mistake, line in EXAMPLES.items()}\n"
            "    return known.get(message, 'other image size')"
        ),
        "grey and channels first confused": (
            "def diagnose(message):\n    if 'label value' in message:\n        return 'label too large'\n    if 'rank' in message:\n"
            "        return 'one-hot labels'\n    if 'Expected shape' in message:\n        return 'no batch axis'\n"
            "    if 'value 3,' in message:\n"
            "        return 'channels first'\n    return 'other image size'"
        ),
        "looks for the sizes of the examples": (
            "def diagnose(message):\n    for size, name in (('(12, 12, 3)', 'no batch axis'), ('(5, 3, 12, 12)', 'channels first'), "
            "('(5, 12, 12, 1)', 'grey images'),\n                       ('5, 392', 'other image size')):\n        if size in message:\n"
            "            return name\n    return 'one-hot labels'"
        ),
    },
    "two_stages": {
        "compile forgotten": stages(compile="pass"),
        "compile before unfreezing": stages(
            unfreeze="model.compile(keras.optimizers.SGD(0.01), loss=loss)\n    model.fit(images, labels, verbose=0)\n    "
            + RIGHT_STAGES["unfreeze"], compile="pass",
        ),
        "trusts training=False": stages(written=", training=False", unfreeze="base.trainable = True"),
        "everything unfrozen": stages(unfreeze="base.trainable = True"),
        "never frozen": stages(freeze="True"),
        "BatchNorm frozen first, then the base unfrozen": stages(
            unfreeze="for layer in base.layers:\n        layer.trainable = 'batch' not in layer.name\n    base.trainable = True"
        ),
        "three classes written in": stages(classes="3"),
        "stage 2 never fits": stages().replace("    model.fit(images, labels, epochs=3, verbose=0)\n    after_head", "    after_head"),
        "the same rate in both stages": stages(compile="model.compile(keras.optimizers.SGD(0.1), loss=loss)"),
        "the loss takes logits for probabilities": stages().replace("from_logits=True", "from_logits=False"),
    },
    "prepare": {
        "always prepares": "def prepare(batch):\n    return (batch.astype(np.float32) - 127) / 128",
        "believes the type": (
            "def prepare(batch):\n    return (batch.astype(np.float32) - 127) / 128 if batch.dtype == np.uint8 else batch"
        ),
        "floats 0-1 taken for prepared": (
            "def prepare(batch):\n    return (batch.astype(np.float32) - 127) / 128 if batch.max() > 1 else batch"
        ),
        "wraps around": (
            "def prepare(batch):\n    if batch.min() < 0:\n        return batch\n    if batch.max() <= 1:\n"
            "        return (batch * 255 - 127) / 128\n    return (batch - batch.dtype.type(127)) / 128"
        ),
    },
}

RIGHT = {
    "port_layer": {
        "moveaxis, and zeros never needed": (
            "def port_layer(kind, arrays):\n    if kind == 'batchnorm':\n        return tuple(arrays[n] for n in "
            "('weight', 'bias', 'running_mean', 'running_var'))\n    w = arrays['weight']\n    if kind == 'linear':\n        k = w.T\n"
            "    elif kind == 'conv':\n        k = np.moveaxis(w, (0, 1), (3, 2))\n    else:\n        k = np.moveaxis(w, (0, 1), (2, 3))\n"
            "    return [np.ascontiguousarray(k)] + [arrays[n] for n in ('bias',) if n in arrays]"
        ),
    },
    "base_moves": {
        "as text": (
            "def base_moves(actions):\n    out = []\n    for i, a in enumerate(actions):\n        if a == 'fit':\n"
            "            last = max(j for j in range(i) if actions[j] == 'compile')\n"
            "            flags = [x for x in actions[:last] if x.endswith('freeze')]\n"
            "            out.append(not flags or flags[-1] == 'unfreeze')\n    return out"
        ),
    },
    "diagnose": {
        "words first": (
            "def diagnose(message):\n    import re\n    if 'Received a label' in message:\n        return 'label too large'\n"
            "    if 'ndim' in message:\n        return 'one-hot labels'\n    if 'Expected shape' in message:\n"
            "        return 'no batch axis'\n    got = message.split('(')[-1].split(')')[0].split(',')\n    if len(got) == 2:\n"
            "        return 'other image size'\n    return 'grey images' if got[3].strip() == '1' else 'channels first'"
        ),
    },
    "two_stages": {
        "by layer name, and train_on_batch's sibling": stages(),
        "a subclass is not needed: Sequential": (
            "def two_stages(images, labels, base_weights):\n    base = make_base()\n    base.set_weights(base_weights)\n"
            "    base.trainable = False\n    model = keras.Sequential([layers.Input(images.shape[1:]), base, "
            "layers.GlobalAveragePooling2D(), layers.Dense(len(np.unique(labels)))])\n    out = {}\n"
            "    for stage, rate in (('after_head', 0.1), ('after_tuning', 0.01)):\n        if stage == 'after_tuning':\n"
            "            for layer in base.layers:\n                base.trainable = True\n            for layer in base.layers:\n"
            "                if isinstance(layer, layers.BatchNormalization):\n                    layer.trainable = False\n"
            "        model.compile(keras.optimizers.SGD(rate), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))\n"
            "        model.fit(images, labels, epochs=3, verbose=0)\n        out[stage] = [a.copy() for a in base.get_weights()]\n"
            "    return out | {'head': model.layers[-1].get_weights()}"
        ),
    },
    "prepare": {
        "by the span": (
            "def prepare(batch):\n    x = np.array(batch, float)\n    if x.min() >= 0:\n        x = x if x.max() > 1 else x * 255\n"
            "        x = (x - 127) / 128\n    return x"
        ),
    },
}
