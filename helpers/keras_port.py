"""EfficientNet-Lite0 as a Keras 3 functional model with the weights of the PyTorch file, and the networks of keras.applications.

TensorFlow takes seconds to import, so only what calls a function here pays for it.
"""
from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from helpers import config
from helpers.backbones import efficientnet_lite0 as lite0
from helpers.data.images import check_images
from helpers.downloads import transfer
from helpers.errors import CourseError

if TYPE_CHECKING:
    import keras

# Of each stage: blocks, kernel, stride of the first block, expansion, channels. (Tan & Le 2019, arXiv:1905.11946, table 1; "Lite" leaves
# out squeeze-and-excitation and uses ReLU6.)
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
STEM, HEAD, CLASSES = 32, 1280, 1000
EPSILON = 1e-3  # of BatchNorm; no weights file says so
APPLICATIONS = ("VGG16", "ResNet50", "InceptionV3", "DenseNet121")


def start_keras(seed: int = 0, threads: int = 2) -> None:
    """Import Keras on TensorFlow, with `threads` CPU threads for an operation, and seed Python, NumPy and TensorFlow.

    Call it before anything else of TensorFlow. Raises CourseError when Keras has been loaded with another backend, or TensorFlow has
    already run something with another number of threads; ValueError for fewer than one thread.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}: use 1 or more")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with quiet():
        import keras
        import tensorflow

    if keras.backend.backend() != "tensorflow":
        raise CourseError(f"Keras runs on {keras.backend.backend()} in this kernel, the lesson needs tensorflow: restart the kernel")
    try:
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        raise CourseError("TensorFlow is already at work with another number of threads: restart the kernel") from None
    tensorflow.get_logger().setLevel("ERROR")  # it warns of slow code whenever several small models are made
    with quiet():
        tensorflow.constant(0)  # looks for a graphics card
    keras.utils.set_random_seed(seed)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what TensorFlow's C++ part writes to standard error: remarks about graphics cards and rounding that no setting stops."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def conv_kernel(weight: np.ndarray) -> np.ndarray:
    """A convolution's weights, from PyTorch (out, in, height, width) to Keras (height, width, in, out)."""
    return weight.transpose(2, 3, 1, 0)


def depthwise_kernel(weight: np.ndarray) -> np.ndarray:
    """A depthwise convolution's weights, from PyTorch (channels, 1, height, width) to Keras (height, width, channels, 1)."""
    return weight.transpose(2, 3, 0, 1)


def dense_kernel(weight: np.ndarray) -> np.ndarray:
    """A linear layer's weights, from PyTorch (out, in) to Keras (in, out)."""
    return weight.T


def build_efficientnet_lite0(size: int | None = None, include_top: bool = True) -> keras.Model:
    """The network with random weights: inputs (n, size, size, 3), already scaled to (pixel - 127) / 128.

    size: pixels, a multiple of 32; None takes images of any size. Outputs: with include_top 1,000 logits, without it the last maps
    (n, size / 32, size / 32, 1280), as keras.applications does. Each of the 16 blocks ends in a layer "block_1" … "block_16", where
    the network can be cut. Raises ValueError for a size it cannot halve five times.
    """
    import keras
    from keras import layers

    if size is not None and (size < lite0.MULTIPLE or size % lite0.MULTIPLE):
        raise ValueError(f"size is {size}: the net halves the image five times, choose a multiple of {lite0.MULTIPLE}, or None")

    def convolve(x: keras.KerasTensor, name: str, filters: int, kernel: int = 1, stride: int = 1, relu: bool = True) -> keras.KerasTensor:
        settings = {"strides": stride, "padding": "same", "use_bias": False, "name": f"{name}_conv"}
        layer = layers.Conv2D(filters, kernel, **settings) if filters else layers.DepthwiseConv2D(kernel, **settings)
        x = layers.BatchNormalization(momentum=0.99, epsilon=EPSILON, name=f"{name}_bn")(layer(x))
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x

    inputs = layers.Input((size, size, 3), name="image")
    x, number = convolve(inputs, "stem", STEM, 3, 2), 0
    for repeats, kernel, stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            number, before = number + 1, x
            name, step = f"block_{number}", stride if repeat == 0 else 1
            if expansion > 1:
                x = convolve(x, f"{name}_expand", before.shape[-1] * expansion)
            x = convolve(x, f"{name}_depthwise", 0, kernel, step)
            x = convolve(x, f"{name}_project", channels, relu=False)
            if step == 1 and before.shape[-1] == channels:
                x = layers.Add(name=f"{name}_add")([before, x])
            x = layers.Identity(name=name)(x)
    x = convolve(x, "head", HEAD)
    if include_top:
        x = layers.Dense(CLASSES, name="logits")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, x, name="efficientnet_lite0")


def layer_names() -> Iterator[tuple[str, str, str]]:
    """For each convolution: its name in Keras, and the names of the convolution and of its BatchNorm in the PyTorch file."""
    yield "stem", "_conv_stem", "_bn0"
    for number in range(16):
        ours, theirs = f"block_{number + 1}", f"_blocks.{number}"
        if number:  # the first block does not expand
            yield f"{ours}_expand", f"{theirs}._expand_conv", f"{theirs}._bn0"
        yield f"{ours}_depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"
        yield f"{ours}_project", f"{theirs}._project_conv", f"{theirs}._bn2"
    yield "head", "_conv_head", "_bn1"


def port_weights(model: keras.Model, state: dict[str, np.ndarray]) -> keras.Model:
    """Set all weights of a model of `build_efficientnet_lite0` from the arrays of the PyTorch file, in place; returns it.

    Raises ValueError when the file lacks an array, holds one that has no place, or one of another shape.
    """
    unused = {name for name in state if not name.endswith("num_batches_tracked")}

    def take(name: str) -> np.ndarray:
        if name not in state:
            raise ValueError(f"the weights have no array {name!r}: are they those of EfficientNet-Lite0?")
        unused.discard(name)
        return np.asarray(state[name])

    def put(layer: str, arrays: list[np.ndarray]) -> None:
        expected = [tuple(weight.shape) for weight in model.get_layer(layer).weights]
        if [array.shape for array in arrays] != expected:
            raise ValueError(f"layer {layer} has weights of shape {expected}, the file gives {[array.shape for array in arrays]}")
        model.get_layer(layer).set_weights(arrays)

    for ours, convolution, norm in layer_names():
        kernel = depthwise_kernel if ours.endswith("depthwise") else conv_kernel
        put(f"{ours}_conv", [kernel(take(f"{convolution}.weight"))])
        put(f"{ours}_bn", [take(f"{norm}.{name}") for name in ("weight", "bias", "running_mean", "running_var")])
    top = [take("_fc.weight"), take("_fc.bias")]
    if any(layer.name == "logits" for layer in model.layers):
        put("logits", [dense_kernel(top[0]), top[1]])
    if unused:
        raise ValueError(f"{len(unused)} arrays of the file have no place in the model, such as {min(unused)!r}")
    return model


def read_weights() -> dict[str, np.ndarray]:
    """The arrays of the PyTorch weights file by name, verified by hash. Raises CourseError when it is missing or damaged."""
    import torch

    state = torch.load(lite0.verify(), map_location="cpu", weights_only=True)
    return {name: tensor.numpy() for name, tensor in state.items()}


def load_efficientnet_lite0(size: int | None = None, include_top: bool = True) -> keras.Model:
    """`build_efficientnet_lite0` with the ImageNet weights, verified: the same numbers as in PyTorch, up to rounding (below 1e-4)."""
    return port_weights(build_efficientnet_lite0(size, include_top), read_weights())


def load_application(name: str, size: int = 224) -> keras.Model:
    """A network of keras.applications without its top, with ImageNet weights, for (n, size, size, 3); needs COURSE_PROFILE=full.

    name: one of `APPLICATIONS`. The file is downloaded once and compared with its hash at every call, before Keras reads it.
    Raises ValueError for another name or a size that is too small, CourseError in the offline profile or when the download fails.
    """
    if name not in APPLICATIONS:
        raise ValueError(f"no network called {name!r}: choose one of {', '.join(APPLICATIONS)}")
    (path,) = transfer.ensure(name).glob("*.h5")
    if "keras" not in sys.modules:
        start_keras()
    import keras

    return getattr(keras.applications, name)(weights=str(path), include_top=False, input_shape=(size, size, 3))


def application_features(name: str, images: np.ndarray, size: int = 96) -> np.ndarray:
    """Features (n, d) float32 of a network of keras.applications with ImageNet weights: the mean over all places of its last maps.

    images: uint8 (n, h, w, 3). size: they are resized to size x size pixels, 75 or more for InceptionV3, 32 or more for the others.
    Each network prepares pixels in its own way; this uses that network's. Raises ValueError for unusable images, and as
    `load_application`.
    """
    from helpers.catalogue import KERAS

    model = load_application(name, size)
    import keras

    prepare = getattr(keras.applications, KERAS[name]).preprocess_input
    parts = []
    for start in config.progress(range(0, len(images), 32), name):
        batch = check_images(images[start : start + 32]).astype(np.float32)
        resized = keras.ops.convert_to_numpy(keras.ops.image.resize(batch, (size, size), antialias=True))
        maps = keras.ops.convert_to_numpy(model(prepare(resized), training=False))
        parts.append(maps.mean((1, 2)))
    return np.concatenate(parts).astype(np.float32)


def snapshot(model: keras.Model) -> list[np.ndarray]:
    """Copies of all weights of a compiled model and of its optimiser's state: everything that training changes.

    Raises ValueError when the model has not been compiled.
    """
    if getattr(model, "optimizer", None) is None:
        raise ValueError("the model has no optimiser: call compile() first")
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [np.array(variable.numpy()) for variable in (*model.weights, *model.optimizer.variables)]


def rewind(model: keras.Model, start: list[np.ndarray]) -> None:
    """Put a `snapshot` of the same compiled model back, in place: the next run starts from the same point, without compiling again.

    Raises ValueError when the snapshot is of another model, or the model has been compiled since with other trainable weights.
    """
    variables = [*model.weights, *(model.optimizer.variables if getattr(model, "optimizer", None) else [])]
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in start]:
        raise ValueError("the snapshot does not fit: take a new one after compile()")
    for variable, array in zip(variables, start, strict=True):
        variable.assign(array)


def message(error: BaseException) -> str:
    """The one line of a Keras or TensorFlow error that says what is wrong, without colours, call stack and arguments."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    frame = ("Exception encountered", "Graph execution error", "Detected at node", "File ", "<", "Arguments received")
    lines = [line.strip() for line in text.splitlines()]
    # Of a failed graph the reason stands below the stack, before the name of the node.
    reason = [line for line in lines if line.startswith("Received a label value")]
    said = reason or [line for line in lines if line and not line.startswith(frame)]
    kept = re.sub(r" *\[\[\{\{.*", "", said[0]) if said else text.strip()
    # An input may be written out in full, hundreds of numbers long.
    shapes = re.search(r"Expected shape .*", text)
    return f"{type(error).__name__}: {shapes.group() if shapes and 'Expected shape' not in kept else kept}"
