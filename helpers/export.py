"""From a fine-tuned net to files that other programs run: safetensors, torch.export, ONNX, int8, LiteRT; their sizes and speeds.

The net is the course's classifier of photographs (lesson 04): EfficientNet-Lite0 up to block 13, its last three blocks fine-tuned.
"""
from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from helpers import config, finetuning, training
from helpers.backbones import efficientnet_lite0 as lite0
from helpers.data.cache import cached
from helpers.errors import CourseError
from helpers.inference import BATCH, SIDE, check_images

if TYPE_CHECKING:
    import keras
    import pandas as pd

MEAN, SPREAD = 127.0, 48.0  # of every channel of every image, after `prepare`
CUT = "block 10"  # what comes before is frozen: its maps are computed once
LAST = "block 13"
QUANTISERS = ("static, per channel", "static, per tensor", "dynamic")


def prepare(images: torch.Tensor) -> torch.Tensor:
    """uint8 images (n, 64, 64, 3) in 0-255 -> float32 (n, 3, 64, 64) as the net wants them, about -1 to 1.

    Each channel of each image gets mean 127 and standard deviation 48 (of the same contrast, whatever the light), then (x - 127) / 128.
    Written with tensor operations only, so that it can be exported together with the net.
    """
    flat = images.reshape(-1, SIDE * SIDE, 3).transpose(1, 2).float()
    centred = flat - flat.mean(2, keepdim=True)
    spread = (centred * centred).mean(2, keepdim=True).sqrt()
    level = (centred * (SPREAD / (spread + 1e-3)) + MEAN).clamp(0, 255)
    return ((level - 127) / 128).reshape(-1, 3, SIDE, SIDE)


class PhotoNet(nn.Module):
    """The whole classifier: uint8 images (n, 64, 64, 3) -> logits (n, classes). Its preprocessing is part of it."""

    def __init__(self, trunk: nn.Module, tail: nn.Module):
        super().__init__()
        self.trunk, self.tail = trunk, tail

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.tail(self.trunk(prepare(images)))


def trunk() -> nn.Module:
    """The frozen part: the pretrained net up to block 10, prepared images -> maps (n, 112, 4, 4)."""
    net = lite0.load_efficientnet_lite0()
    blocks = net._blocks[: int(CUT.split()[1])]
    return finetuning.freeze(nn.Sequential(net._conv_stem, net._bn0, net._swish, *blocks))


@cached
def _maps(images: np.ndarray, weights: str) -> np.ndarray:
    net, device = trunk(), config.device()
    with torch.no_grad(), config.threads(min(2, config.cores())):
        parts = [net(prepare(part.to(device)).contiguous(memory_format=torch.channels_last)).contiguous().cpu()
                 for part in torch.from_numpy(images).split(BATCH)]
    return torch.cat(parts).numpy()


def maps_of(images: np.ndarray) -> torch.Tensor:
    """What the frozen trunk makes of uint8 images (n, 64, 64, 3): float32 (n, 112, 4, 4), kept on disk. The input of the tail.

    Raises ValueError for other images.
    """
    lite0.verify()
    return torch.from_numpy(_maps(check_images(images), lite0.SHA256)).contiguous(memory_format=torch.channels_last)


def fine_tune(maps: torch.Tensor, labels: np.ndarray, classes: int, seed: int, steps: int = 24) -> nn.Module:
    """Lesson 04's recipe on the trunk's maps (n, 112, 4, 4): fit the head, then tune blocks 11 to 13 at 0.0001, BatchNorm frozen.

    Returns the tail: `features` (maps -> (n, 192)) and a linear `classifier`, in evaluation mode, on the CPU.
    """
    tail = lite0.tail(CUT, LAST, classes)
    finetuning.fit_classifier(tail, maps, labels)
    finetuning.freeze_batchnorm(finetuning.unfreeze_last(tail, 3))
    groups = finetuning.parameter_groups(tail, body_rate=1e-4, head_rate=1e-4)
    training.fit(tail, maps, labels, steps=steps, groups=groups, schedule="cosine", seed=seed)
    return tail.cpu()


def assemble(tail: nn.Module) -> PhotoNet:
    """Trunk and tail as one net on the CPU, in evaluation mode, ready to be saved and exported."""
    return PhotoNet(trunk(), tail).cpu().eval().requires_grad_(False)


def save(model: nn.Module, path: Path, classes: Sequence[str], **facts: str) -> Path:
    """Write the weights to `path` as safetensors: arrays and text, nothing that could run. Returns the path.

    classes: their names in the order of the logits; they and the `facts` (text) go into the file's header.
    """
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path, metadata={"classes": json.dumps(list(classes)), **facts})
    return Path(path)


def load(path: Path) -> tuple[PhotoNet, tuple[str, ...]]:
    """(net, class names) from a file of `save`. Raises CourseError when it cannot be read, or holds another net's weights."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            classes = tuple(json.loads((file.metadata() or {}).get("classes", "[]")))
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, ValueError) as error:
        raise CourseError(f"{Path(path).name} cannot be read as safetensors ({error}): save it again with export.save") from None
    if len(classes) < 2:
        raise CourseError(f"{Path(path).name} does not name its classes: save it with export.save, which stores them")
    model = assemble(lite0.tail(CUT, LAST, len(classes)))
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise CourseError(f"{Path(path).name} holds the weights of another net: load it with the code that it was made with") from None
    return model.eval(), classes


def fold_batchnorm(model: nn.Module) -> nn.Module:
    """A copy of a net in evaluation mode in which each BatchNorm after a convolution has become part of that convolution.

    The numbers that come out are the same up to rounding: at rest BatchNorm is one factor and one shift for each channel.
    Raises ValueError when the net is in training mode, where BatchNorm depends on the batch.
    """
    import copy

    from torch.nn.utils.fusion import fuse_conv_bn_weights

    if model.training:
        raise ValueError("the net is in training mode: call model.eval() first")
    model = copy.deepcopy(model)
    for part in list(model.modules()):
        children = list(part.named_children())
        for (_, first), (name, second) in zip(children, children[1:], strict=False):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                first.weight, first.bias = fuse_conv_bn_weights(
                    first.weight, first.bias, second.running_mean, second.running_var, second.eps, second.weight, second.bias)
                setattr(part, name, nn.Identity())
    return model.requires_grad_(False)


def to_program(model: nn.Module, example: np.ndarray) -> torch.export.ExportedProgram:
    """`torch.export`: the net as a graph of tensor operations, without its Python code, for any number of images.

    example: two or more uint8 images (n, 64, 64, 3). torch.export.save writes it to a file.
    """
    images = torch.from_numpy(check_images(example))
    batch = torch.export.Dim("batch", min=1, max=256)
    return torch.export.export(model, (images,), dynamic_shapes=({0: batch},))


def to_onnx(program: torch.export.ExportedProgram, path: Path, classes: Sequence[str], inputs: Sequence[str] = ("images",)) -> Path:
    """Write an exported program as an ONNX file with the named `inputs`, output "logits" and its class names. Returns the path."""
    import onnx

    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about its own parts
            exported = torch.onnx.export(program, input_names=list(inputs), output_names=["logits"], verbose=False)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    proto = exported.model_proto
    onnx.helper.set_model_props(proto, {"classes": json.dumps(list(classes))})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    return Path(path)


class _Logits(nn.Module):
    """A text classifier of transformers as a function of two tensors."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def text_to_onnx(model: nn.Module, tokens: Mapping[str, torch.Tensor], path: Path, classes: Sequence[str]) -> Path:
    """Write a text classifier of transformers as an ONNX file, for any number of texts of any length. Returns the path.

    tokens: two or more texts from its tokenizer; "input_ids" and "attention_mask" (n, length) are used. Inputs and output of the file
    have the same names, and "logits". Raises ValueError for a single text, whose number would be written into the graph.
    """
    names = ("input_ids", "attention_mask")
    arguments = tuple(tokens[name].cpu() for name in names)
    if len(arguments[0]) < 2:
        raise ValueError("one text alone: pass two or more, or the graph is made for one text only")
    free = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    with torch.no_grad():
        program = torch.export.export(_Logits(model).cpu().eval(), arguments, dynamic_shapes=(free, free))
    return to_onnx(program, path, classes, names)


def quantise_products(source: Path, path: Path) -> Path:
    """Write an int8 copy of an ONNX file in which only matrix products are int8, with dynamic ranges: the first choice for transformers.

    Returns the path.
    """
    import onnx
    from onnxruntime import quantization

    proto, bare = onnx.load(source), Path(path).with_suffix(".bare.onnx")
    del proto.graph.value_info[:]  # shapes that were inferred for weights which the quantiser turns round
    onnx.save(proto, bare)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a step that this file does not need
    try:
        quantization.quantize_dynamic(str(bare), str(path), weight_type=quantization.QuantType.QInt8,
                                      op_types_to_quantize=["MatMul", "Gemm"])
    finally:
        root.setLevel(level)
        bare.unlink(missing_ok=True)
    return Path(path)


def with_weights(source: Path, model: nn.Module, path: Path) -> Path:
    """Copy an ONNX file, with the weights of `model`, a net of the same architecture as the exported one. Returns the path.

    Exporting takes seconds, this milliseconds. Raises ValueError when a weight has no place in the file, or one of another shape.
    """
    import onnx
    from onnx import numpy_helper

    proto, state = onnx.load(source), model.state_dict()
    places = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.name in state}
    for name, value in state.items():
        array = value.numpy()
        if name not in places or tuple(places[name].dims) != array.shape:
            raise ValueError(f"the file has no weight {name} of shape {array.shape}: export this net instead")
        places[name].CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(proto, path)
    return Path(path)


def quantise(source: Path, path: Path, how: str, calibration: np.ndarray | None = None) -> Path:
    """Write an int8 copy of an ONNX file. how: one of `QUANTISERS`. Returns the path.

    "static": the ranges of all maps are measured once, on the `calibration` images (uint8 (n, 64, 64, 3), some dozens like those to
    come); weights get a scale of their own for each output channel, or one for a whole tensor. "dynamic": ranges are measured
    anew for each batch while it runs. Preprocessing stays in floating point. (Jacob et al. 2018, arXiv:1712.05877.)
    Raises ValueError for another `how`, or when static has no calibration images.
    """
    if how not in QUANTISERS:
        raise ValueError(f"no way to quantise called {how!r}: choose one of {', '.join(QUANTISERS)}")
    if how != "dynamic" and calibration is None:
        raise ValueError(f"{how!r} measures the range of every map: pass some dozens of calibration images")
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            images = check_images(calibration)
            self.batches = iter([{"images": images[at : at + BATCH]} for at in range(0, len(images), BATCH)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    kinds = {"weight_type": quantization.QuantType.QInt8, "op_types_to_quantize": ["Conv", "Gemm", "Add", "Clip"]}
    ready = Path(path).with_suffix(".ready.onnx")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it warns that the uint8 input is not quantised, which is meant
    try:
        quant_pre_process(str(source), str(ready))
        nodes = list(onnx.load(ready).graph.node)
        first = next((place for place, node in enumerate(nodes) if node.op_type == "Conv"), 0)
        kinds["nodes_to_exclude"] = [node.name for node in nodes[:first]]  # what comes before is the preprocessing
        if how == "dynamic":
            kinds["weight_type"] = quantization.QuantType.QUInt8  # what its convolution takes
            quantization.quantize_dynamic(str(ready), str(path), **kinds)
        else:
            quantization.quantize_static(
                str(ready), str(path), Images(), quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8, per_channel=how.endswith("channel"), **kinds)
    finally:
        root.setLevel(level)
        ready.unlink(missing_ok=True)
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {entry.key: entry.value for entry in onnx.load(source).metadata_props})
    onnx.save(proto, path)
    return Path(path)


def megabytes(path: Path) -> float:
    """The size of a file in millions of bytes."""
    return Path(path).stat().st_size / 1e6


def paired_latencies(arms: Mapping[str, Callable[[], Any]], rounds: int = 30, warm_up: int = 3) -> pd.DataFrame:
    """Milliseconds of every arm in every round: a table with a column for each arm, a row for each round.

    In each round every arm is called once, in a random order. When something else slows the machine down, it slows
    neighbours: the ratio within a round, and the median over rounds, hardly notice. Raises ValueError for fewer than one round.
    """
    import pandas as pd

    if rounds < 1:
        raise ValueError(f"rounds is {rounds}: measure at least once, some dozens are better")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(-warm_up, rounds):
        row = {}
        for name in rng.permutation(list(arms)):
            began = time.perf_counter()
            arms[name]()
            row[name] = (time.perf_counter() - began) * 1e3
        if number >= 0:
            rows.append(row)
    return pd.DataFrame(rows)[list(arms)]


def keras_twin(model: PhotoNet, classes: int) -> keras.Model:
    """The same classifier as a Keras model, weight by weight: float32 images (n, 64, 64, 3) in 0-255 -> logits (n, classes).

    model: as `assemble` made it, BatchNorm not folded. Call `keras_port.start_keras` first.
    """
    import keras
    from keras import ops

    from helpers import keras_port

    first = int(CUT.split()[1])
    state = keras_port.read_weights()
    for number, block in enumerate(list(model.tail.features)[:3], start=first):
        state.update({f"_blocks.{number}.{name}": tensor.numpy() for name, tensor in block.state_dict().items()})
    net = keras_port.port_weights(keras_port.build_efficientnet_lite0(SIDE, include_top=False), state)
    body = keras.Model(net.input, net.get_layer(LAST.replace(" ", "_")).output)
    images = keras.Input((SIDE, SIDE, 3), name="images")
    centred = images - ops.mean(images, axis=(1, 2), keepdims=True)
    spread = ops.sqrt(ops.mean(centred * centred, axis=(1, 2), keepdims=True))
    level = ops.clip(centred * (SPREAD / (spread + 1e-3)) + MEAN, 0, 255)
    top = keras.layers.Dense(classes, name="logits")
    twin = keras.Model(images, top(keras.layers.GlobalAveragePooling2D()(body((level - 127) / 128))), name="photo_net")
    top.set_weights([model.tail.classifier.weight.numpy().T, model.tail.classifier.bias.numpy()])
    return twin


def to_litert(twin: keras.Model, path: Path) -> Path:
    """Write a Keras model of `keras_twin` as a LiteRT (.tflite) file, the format of phones, for one image at a time. Returns the path."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from helpers import keras_port

    one = [tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32, name="images")]
    with keras_port.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = convert_variables_to_constants_v2(tf.function(lambda images: twin(images), input_signature=one).get_concrete_function())
        Path(path).write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen], twin).convert())
    return Path(path)


def to_litert_aside(weights: Path, path: Path) -> Path:
    """`to_litert` from a file of `save`, in a process of its own: TensorFlow takes 600 MB, which go when the process does.

    Returns the path. Raises what `load` raises, CourseError when it takes more than five minutes.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_to_litert, weights, path).result(timeout=300)
        except TimeoutError:
            for process in pool._processes.values():
                process.kill()
            raise CourseError("the conversion took more than five minutes: is the machine very busy? Run the cell again") from None


def _to_litert(weights: Path, path: Path) -> Path:
    from helpers import keras_port

    model, classes = load(weights)
    keras_port.start_keras()
    return to_litert(keras_twin(model, len(classes)), path)


def run_litert(path: Path, images: np.ndarray) -> np.ndarray:
    """The logits (n, classes) that a file of `to_litert` gives for uint8 images (n, 64, 64, 3).

    Raises CourseError where the package ai-edge-litert is not installed: it is not made for every platform.
    """
    from helpers import keras_port

    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise CourseError("this platform has no package ai-edge-litert, which runs .tflite files: copy the file to one that has") from None
    with keras_port.quiet():
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
    entry, leave = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    rows = []
    for image in check_images(images).astype(np.float32):
        interpreter.set_tensor(entry, image[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(leave)[0].copy())
    return np.stack(rows)
