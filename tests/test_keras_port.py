"""The Keras port: equal to PyTorch, whole files only, and errors that say what to do. TensorFlow runs in a process of its own: it and
what it starts would stay in the process of all other tests."""
import subprocess
import sys

import numpy as np
import pytest

from helpers import keras_port
from helpers.backbones import efficientnet_lite0 as lite0
from helpers.errors import CourseError


def run(code: str, **settings: str) -> str:
    """What a fresh Python prints that runs `code` after starting Keras."""
    import os

    start = "import sys, numpy as np\nfrom helpers import keras_port\nkeras_port.start_keras(seed=0, threads=1)\nimport keras\n"
    environment = {**os.environ, "COURSE_PROFILE": "offline", "COURSE_DEVICE": "cpu", **settings}
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == "", "TensorFlow's remarks reach the learner"
    return done.stdout


def test_the_axes_of_each_kind_of_kernel():
    assert keras_port.conv_kernel(np.zeros((5, 3, 2, 4))).shape == (2, 4, 3, 5)
    assert keras_port.depthwise_kernel(np.zeros((6, 1, 2, 4))).shape == (2, 4, 6, 1)
    assert keras_port.dense_kernel(np.zeros((5, 3))).shape == (3, 5)


def test_the_names_cover_the_file():
    state = keras_port.read_weights()
    named = {f"{conv}.weight" for _, conv, _ in keras_port.layer_names()}
    assert named == {name for name, array in state.items() if array.ndim == 4}
    assert sum(array.size for name, array in state.items() if "running" not in name and "num_batches" not in name) == 4_652_008


@pytest.mark.slow
def test_the_port_equals_pytorch_with_and_without_top_at_any_size():
    printed = run(
        """
import torch
from helpers.backbones import efficientnet_lite0 as lite0

theirs = lite0.load_efficientnet_lite0()
rng = np.random.default_rng(0)
gaps = []
for size, fixed in ((64, 64), (96, None)):
    images = rng.integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    prepared = (images.astype(np.float32) - 127) / 128
    with torch.no_grad():
        batch = lite0.preprocess(images, size)
        logits = theirs(batch).numpy()
        maps = {n: m.numpy().transpose(0, 2, 3, 1) for n, m in lite0.feature_maps(theirs, batch).items()}
    ours = keras_port.load_efficientnet_lite0(fixed)
    gaps.append(np.abs(np.asarray(ours(prepared, training=False)) - logits).max())
base = keras_port.load_efficientnet_lite0(96, include_top=False)
names = {"block 2": "block_2", "block 10": "block_10", "head": "head_relu"}
cut = keras.Model(base.input, [base.get_layer(name).output for name in names.values()])
gaps += [np.abs(np.asarray(found) - maps[name]).max() for name, found in zip(names, cut(prepared, training=False))]
assert base.output_shape == (None, 3, 3, 1280) and "torch" in sys.modules
print(max(gaps) < 1e-4, gaps)
"""
    )
    assert printed.startswith("True"), printed


def test_errors_of_the_port_and_the_helpers_in_one_process():
    printed = run(
        """
def refused(call, *words):
    try:
        call()
    except Exception as error:
        assert all(word in str(error) for word in words), error
        print(type(error).__name__, "ok")
    else:
        raise AssertionError("accepted")

state = keras_port.read_weights()
net = keras_port.build_efficientnet_lite0(64, include_top=False)
keras_port.port_weights(net, state)
refused(lambda: keras_port.build_efficientnet_lite0(50), "multiple of 32")
refused(lambda: keras_port.port_weights(net, {k: v for k, v in state.items() if k != "_bn1.bias"}), "_bn1.bias")
refused(lambda: keras_port.port_weights(net, state | {"_extra.weight": np.zeros(1)}), "no place", "_extra")
refused(lambda: keras_port.port_weights(net, state | {"_conv_head.weight": np.zeros((3, 3, 1, 1))}), "head_conv", "(1, 1, 320, 1280)")
refused(lambda: keras_port.load_application("VGG99"), "choose one of")
refused(lambda: keras_port.load_application("VGG16"), "COURSE_PROFILE=full", "59 MB", "offline profile")

toy = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
refused(lambda: keras_port.snapshot(toy), "compile()")
toy.compile("adam", "mse")
start = keras_port.snapshot(toy)
x, y = np.ones((4, 3)), np.ones((4, 2))
first = [toy.train_on_batch(x, y) for _ in range(5)]
moved = keras_port.snapshot(toy)
assert not np.array_equal(moved[0], start[0])
keras_port.rewind(toy, start)
assert all(np.array_equal(a, b) for a, b in zip(keras_port.snapshot(toy), start))
assert [toy.train_on_batch(x, y) for _ in range(5)] == first
toy.layers[0].trainable = False
toy.compile("adam", "mse")
refused(lambda: keras_port.rewind(toy, start), "take a new one")

try:
    toy.predict(np.ones(3), verbose=0)
except ValueError as error:
    print(keras_port.message(error))
toy.layers[0].trainable = True
toy.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
for call in (lambda: toy.predict(np.ones((2, 4)), verbose=0), lambda: toy.train_on_batch(x, np.full(4, 2))):
    try:
        call()
    except Exception as error:
        print(keras_port.message(error))
refused(lambda: keras_port.start_keras(threads=3), "restart the kernel")
"""
    )
    lines = printed.splitlines()
    assert [line for line in lines if line.endswith(" ok")] == [
        *["ValueError ok"] * 5, "CourseError ok", *["ValueError ok"] * 2, "CourseError ok"
    ]  # fmt: skip
    assert "Expected shape (None, 3)" in printed or "Expected shape" in printed
    assert any(line.startswith("ValueError") and "to have value 3, but received input with shape (2, 4)" in line for line in lines)
    assert any(line.startswith("InvalidArgumentError: Received a label value of 2") and "\t" not in line for line in lines)


def test_without_a_network_the_full_profile_says_so_in_a_sentence(tmp_path, monkeypatch):
    # Nobody listens on port 9: it stands for the missing network. Keras itself would raise a bare Exception.
    monkeypatch.setenv("COURSE_PROFILE", "full")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(CourseError, match="VGG16 .* could not be downloaded: is there a network connection"):
        keras_port.load_application("VGG16", 64)


def test_start_keras_checks_its_arguments_and_the_backend():
    with pytest.raises(ValueError, match="1 or more"):
        keras_port.start_keras(threads=0)
    code = (
        "import os, sys\nos.environ['KERAS_BACKEND'] = 'torch'\nimport keras\nfrom helpers import keras_port\n"
        "from helpers.errors import CourseError\n"
        "try:\n    keras_port.start_keras()\nexcept CourseError as reason:\n    print(reason)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "Keras runs on torch" in done.stdout, done.stderr[-2000:]


def test_message_reads_any_error():
    text = "Exception encountered when calling X.call().\n\n\x1b[1mInput 0 wants axis -1\x1b[0m\n\nArguments received by X.call():\n  • a"
    assert keras_port.message(ValueError(text)) == "ValueError: Input 0 wants axis -1"
    assert keras_port.message(KeyError("")) == "KeyError: ''"
    assert keras_port.message(RuntimeError()) == "RuntimeError: "


def test_a_damaged_file_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(lite0, "SHA256", "0" * 64)
    with pytest.raises(CourseError, match="damaged"):
        keras_port.read_weights()
