"""Exporting and int8, on a small net with the same kinds of layers; the course's own net once."""
import pickle

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from helpers import export, inference
from helpers.errors import CourseError

NAMES = ("cat", "dog", "bird")


class Tiny(nn.Module):
    """uint8 images -> logits, through `export.prepare`, a convolution, a depthwise one, and BatchNorm after each."""

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=4, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip
        self.classifier = nn.Linear(8, len(NAMES))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.01, 2)

    def forward(self, images):
        return self.classifier(self.body(export.prepare(images)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, images):
    """(folded net, program, ONNX file)"""
    net = export.fold_batchnorm(Tiny().eval())
    program = export.to_program(net, images[:4])
    return net, program, export.to_onnx(program, tmp_path_factory.mktemp("export") / "tiny.onnx", NAMES)


def test_prepare_is_the_contrast_normalisation_of_the_photographs(images):
    darker = (images * 0.5).astype(np.uint8)
    reference = images.astype(np.float64)
    normal = (reference - reference.mean((1, 2), keepdims=True)) / (reference.std((1, 2), keepdims=True) + 1e-3)
    expected = (np.clip(normal * 48 + 127, 0, 255) - 127) / 128
    found = export.prepare(torch.from_numpy(images))
    assert found.shape == (40, 3, 64, 64) and found.dtype == torch.float32
    assert np.allclose(found.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
    assert np.abs(export.prepare(torch.from_numpy(darker)).numpy() - found.numpy()).max() < 0.05
    assert torch.isfinite(export.prepare(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))).all()  # a black image has no contrast


def test_folding_changes_nothing_but_rounding_and_leaves_the_net_alone(images):
    net = Tiny().eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    folded = export.fold_batchnorm(net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        assert torch.allclose(net(torch.from_numpy(images)), folded(torch.from_numpy(images)), atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    with pytest.raises(ValueError, match="training mode"):
        export.fold_batchnorm(Tiny().train())


def test_program_and_onnx_give_the_numbers_of_eager_for_any_batch(exported, images):
    net, program, file = exported
    opened = inference.session(file)
    for count in (1, 3, 40):
        with torch.no_grad():
            eager = net(torch.from_numpy(images[:count])).numpy()
            assert np.abs(program.module()(torch.from_numpy(images[:count])).numpy() - eager).max() < 1e-5
        assert np.abs(inference.run(opened, images[:count]) - eager).max() < 1e-4
        assert np.abs(inference.run(opened, images[:count], batch=64) - eager).max() < 1e-4
    assert inference.class_names(opened) == NAMES


def test_other_weights_in_the_same_file(exported, images, tmp_path):
    other = export.fold_batchnorm(Tiny(seed=1).eval())
    file = export.with_weights(exported[2], other, tmp_path / "other.onnx")
    with torch.no_grad():
        assert np.abs(inference.run(inference.session(file), images) - other(torch.from_numpy(images)).numpy()).max() < 1e-4
    with pytest.raises(ValueError, match="no weight"):
        export.with_weights(exported[2], nn.Linear(2, 2), tmp_path / "wrong.onnx")


def test_int8_has_a_scale_for_each_channel_or_one_for_a_tensor_and_stays_near_fp32(exported, images, tmp_path):
    fp32 = inference.run(inference.session(exported[2]), images)
    scales = {}
    for how in export.QUANTISERS:
        calibration = None if how == "dynamic" else images[:20]  # the last batch is not full
        file = export.quantise(exported[2], tmp_path / "int8.onnx", how, calibration)
        opened = inference.session(file)
        assert inference.class_names(opened) == NAMES
        away = np.abs(inference.run(opened, images) - fp32).max()
        assert 0 < away < 0.05, (how, away)  # near, and not the fp32 file
        nodes = onnx.load(file).graph.node
        first = next(place for place, node in enumerate(nodes) if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear"))
        assert {"Sqrt", "Clip", "Transpose"} <= {node.op_type for node in nodes[:first]}  # the preprocessing is not quantised
        weights = [tensor for tensor in onnx.load(file).graph.initializer if tensor.name.endswith("weight_scale")]
        scales[how] = sorted(int(np.prod(tensor.dims)) for tensor in weights)
    assert scales["static, per channel"][-2:] == [8, 8] and max(scales["static, per tensor"] + scales["dynamic"]) == 1, scales
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]


def test_what_quantise_refuses(exported, tmp_path):
    with pytest.raises(ValueError, match="no way to quantise called 'int4'"):
        export.quantise(exported[2], tmp_path / "x.onnx", "int4")
    with pytest.raises(ValueError, match="calibration images"):
        export.quantise(exported[2], tmp_path / "x.onnx", "static, per channel")
    with pytest.raises(ValueError, match="uint8"):
        export.quantise(exported[2], tmp_path / "x.onnx", "static, per channel", np.zeros((4, 64, 64, 3)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [np.zeros((64, 64, 3), np.uint8), np.zeros((2, 32, 32, 3), np.uint8), np.zeros((0, 64, 64, 3), np.uint8),
                                   np.zeros((2, 64, 64, 3), np.float32)])
def test_images_that_the_net_cannot_take(exported, wrong):
    with pytest.raises(ValueError, match=r"this net takes uint8 \(n, 64, 64, 3\)"):
        inference.run(inference.session(exported[2]), wrong)


def test_files_that_are_no_model(tmp_path):
    with pytest.raises(CourseError, match="there is no file"):
        inference.session(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(CourseError, match="cannot be opened as an ONNX file"):
        inference.session(tmp_path / "text.onnx")


def test_softmax_matches_torch_and_does_not_overflow():
    logits = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0]])
    assert np.allclose(inference.softmax(logits), torch.from_numpy(logits).softmax(-1).numpy())


def test_paired_latencies_measures_every_arm_in_every_round():
    calls = []
    table = export.paired_latencies({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=5, warm_up=2)
    assert table.shape == (5, 2) and list(table) == ["a", "b"] and (table > 0).all().all()
    assert calls.count("a") == calls.count("b") == 7
    with pytest.raises(ValueError, match="at least once"):
        export.paired_latencies({"a": print}, rounds=0)


@pytest.fixture(scope="module")
def photo_net():
    """The course's net with a random head: nothing is trained here."""
    torch.manual_seed(0)
    return export.assemble(export.lite0.tail(export.CUT, export.LAST, 3))


def test_maps_and_tail_are_the_whole_net(photo_net, images, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    with torch.no_grad():
        whole = photo_net(torch.from_numpy(images[:3]))
        assert torch.allclose(photo_net.tail(export.maps_of(images[:3])), whole, atol=1e-4)


def test_save_and_load(photo_net, images, tmp_path):
    file = export.save(photo_net, tmp_path / "net.safetensors", NAMES, licence="CC0")
    again, names = export.load(file)
    assert names == NAMES and not again.training
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in photo_net.state_dict().items())
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:5000])
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps({"weights": 1}))
    for name in ("cut", "pickle", "none"):
        with pytest.raises(CourseError, match="cannot be read as safetensors"):
            export.load(tmp_path / f"{name}.safetensors")
    export.save(Tiny(), tmp_path / "tiny.safetensors", NAMES)
    with pytest.raises(CourseError, match="weights of another net"):
        export.load(tmp_path / "tiny.safetensors")
    export.save(photo_net, tmp_path / "nameless.safetensors", [])
    with pytest.raises(CourseError, match="does not name its classes"):
        export.load(tmp_path / "nameless.safetensors")


def test_fine_tune_moves_the_tail_and_only_its_weights():
    torch.manual_seed(0)
    labels = np.arange(20) % 2
    maps = torch.randn(20, 112, 4, 4) + torch.from_numpy(labels).float()[:, None, None, None]
    tail = export.fine_tune(maps, labels, 2, seed=0, steps=2)
    fresh = export.lite0.tail(export.CUT, export.LAST, 2).features.state_dict()
    moved = {name for name, tensor in tail.features.state_dict().items() if not torch.equal(tensor, fresh[name])}
    assert moved and not any("_bn" in name for name in moved)
    with torch.no_grad():
        assert (tail(maps).argmax(1).numpy() == labels).mean() > 0.8


def test_a_transformer_in_onnx_for_any_number_and_length_of_texts(tmp_path):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    torch.manual_seed(0)
    shape = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    model = RobertaForSequenceClassification(RobertaConfig(**shape, num_labels=3, max_position_embeddings=40)).eval()
    tokens = {"input_ids": torch.randint(3, 49, (3, 12)), "attention_mask": torch.ones(3, 12, dtype=torch.long)}
    fp32 = export.text_to_onnx(model, tokens, tmp_path / "text.onnx", NAMES)
    int8 = export.quantise_products(fp32, tmp_path / "int8.onnx")
    for file, near in ((fp32, 1e-5), (int8, 0.05)):
        opened = inference.session(file)
        for count, length in ((3, 12), (2, 7), (1, 5)):
            part = {name: tensor[:count, :length] for name, tensor in tokens.items()}
            with torch.no_grad():
                wanted = model(**part).logits.numpy()
            assert np.abs(opened.run(None, {name: tensor.numpy() for name, tensor in part.items()})[0] - wanted).max() < near
    with pytest.raises(ValueError, match="two or more"):
        export.text_to_onnx(model, {name: tensor[:1] for name, tensor in tokens.items()}, tmp_path / "one.onnx", NAMES)
