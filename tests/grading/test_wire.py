"""What crosses the boundary arrives as it was, keeps its identity, and nothing forged gets through."""
import socket
import threading

import numpy as np
import pytest
import torch
from torch import nn

from helpers.backbones.small_cnn import load_small_cnn
from helpers.grading import wire
from helpers.grading.wire import Channel, Decoder, Encoder, Table, WireError


def there_and_back(value, cells=None):
    """`value` after a journey, without the other end touching it."""
    encoder = Encoder(Table())
    data = encoder.encode(value)
    return Decoder(Table(), encoder.blobs, cells or {}).decode(data)


def call(function, *args, cells=None):
    """Call `function` with copies of `args`, as the checker and the learner's process do it together."""
    ours, theirs = Table(), Table()
    request = Encoder(ours)
    sent = request.encode(list(args))
    copies = Decoder(theirs, request.blobs, cells or {}).decode(sent)
    answer = Encoder(theirs)
    result = answer.encode(function(*copies))
    after = answer.encode([copies])
    decoder = Decoder(ours, answer.blobs, cells or {})
    result = decoder.decode(result)
    decoder.decode(after)
    return result


@pytest.mark.parametrize("value", [
    None, True, 7, -(2**80), "text \ud800 ü", 0.1, float("inf"), 1 + 2j, b"bytes", (1, (2, None)), [1, [2]], {"a": {1: 2}}, {1, 2},
    np.float32(1.5), np.int64(3), np.bool_(True),
])  # fmt: skip
def test_plain_values_arrive_as_they_were(value):
    found = there_and_back(value)
    assert found == value and type(found) is type(value)


def test_nan_arrays_and_tensors_keep_type_shape_and_order_in_memory():
    assert np.isnan(there_and_back(float("nan")))
    for array in (np.zeros((0, 3), np.uint8), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(["a", "ü"]), np.array(5)):
        found = there_and_back(array)
        assert found.dtype == array.dtype and found.shape == array.shape and (found == array).all()
    last = [torch.rand(*shape).to(memory_format=torch.channels_last) for shape in ((2, 3, 4, 5), (4, 1, 3, 3))]
    for tensor in (*last, torch.tensor(3), torch.rand(3).bfloat16()):
        found = there_and_back(tensor)
        assert found.dtype == tensor.dtype and found.stride() == tensor.stride() and torch.equal(found, tensor)


def test_a_generator_or_a_view_arrives_as_a_list():
    assert there_and_back(n * n for n in range(3)) == [0, 1, 4] and there_and_back({1: 2}.keys()) == [1]


def test_a_pretrained_network_computes_the_same_to_the_last_bit():
    net, images = load_small_cnn("letters"), torch.rand(3, 1, 8, 8)
    found = there_and_back(net)
    assert type(found) is type(net) and torch.equal(found(images), net(images)) and not found.training


def test_a_change_in_place_reaches_the_callers_own_objects():
    net, array, items = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), np.zeros(3), [1, {"a": 2}]
    weight, inner = net[0].weight, items[1]

    def change(net, array, items):
        net.eval().requires_grad_(False)
        with torch.no_grad():
            net[0].weight.fill_(7)
        array[1] = 5
        items.append(3)
        items[1]["a"] = 4

    call(change, net, array, items)
    assert not net.training and not weight.requires_grad and net[0].weight is weight and (weight == 7).all()
    assert array.tolist() == [0, 5, 0] and items == [1, {"a": 4}, 3] and items[1] is inner


def test_what_comes_back_is_the_object_that_was_sent_when_it_is_the_same_there():
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)
    assert call(lambda a, b: (b, a), net, other) == (other, net)
    copied = call(lambda a: nn.Sequential(a), net)
    assert copied[0] is net
    weights = net.weight
    shallow = call(lambda a: [a.weight, a.bias], net)
    assert shallow[0] is weights


def test_an_optimiser_holds_the_parameters_of_the_network_that_it_came_with():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.classifier = nn.Linear(3, 2), nn.Linear(2, 2)

    Net.__module__ = "__main__"
    Net.__qualname__ = "Net"

    def deeper(net):
        net.classifier = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
        return net, torch.optim.AdamW([{"params": net.classifier.parameters(), "lr": 0.5}], weight_decay=0.1)

    mine = Net()
    net, optimizer = call(deeper, mine, cells={"Net": Net})
    assert net is mine and type(optimizer) is torch.optim.AdamW and optimizer.param_groups[0]["lr"] == 0.5
    assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for p in net.classifier.parameters()}


def test_gradients_travel_with_parameters():
    layer = nn.Linear(2, 1)
    call(lambda net: net(torch.ones(1, 2)).sum().backward(), layer)
    assert layer.weight.grad.tolist() == [[1, 1]]


@pytest.mark.parametrize("value, told", [
    (object(), "class object cannot be handed over"), (len, "cannot be handed over"), (np.array([object()]), "type object"),
    (type("Own", (nn.Module,), {})(), "class .*Own"), (torch.zeros(2, 2).to_sparse(), "tensor cannot"),
])  # fmt: skip
def test_what_cannot_travel_says_so(value, told):
    with pytest.raises(WireError, match=told):
        there_and_back(value)


def test_an_integer_of_thousands_of_digits_says_so():
    with pytest.raises(WireError, match="digits"):
        there_and_back(10**5000)


def test_a_deep_value_is_refused_and_one_that_holds_itself_arrives():
    deep = []
    for _ in range(wire.MAX_DEPTH + 2):
        deep = [deep]
    with pytest.raises(WireError, match="levels deep"):
        there_and_back(deep)
    ring = []
    ring.append(ring)
    found = there_and_back(ring)
    assert found[0] is found


def doubled(times, inner="a"):
    for _ in range(times):
        inner = [inner, inner]
    return inner


@pytest.mark.parametrize("times, inner", [
    (45, "a"), (30, {"b": 1}), (19, ["x" * 1000]), (19, [b"x" * 1000]), (18, [np.array(["x" * 1000])]), (45, nn.Linear(1, 1)),
], ids=["lists", "dictionaries", "text", "bytes", "arrays of text", "networks"])  # fmt: skip
def test_what_is_short_on_the_wire_and_endless_to_print_is_refused(times, inner):
    with pytest.raises(WireError, match="the same objects again and again"):
        there_and_back(doubled(times, inner))


def test_honest_repeats_arrive():
    row, image, net = [0.0] * 1000, np.zeros((1000, 1000)), nn.Sequential(*[nn.Linear(4, 4) for _ in range(50)])
    rows, images, nets = there_and_back(([row] * 1000, [(image, 1)] * 50_000, [(net, n) for n in range(100)]))
    assert rows[0] is rows[999] and images[0][0] is images[-1][0] and nets[0][0] is nets[99][0]
    assert len(there_and_back([[0.0] * 100 for _ in range(20_000)])) == 20_000  # nothing is repeated


def test_loops_are_few_and_a_forged_message_says_everything_once():
    with pytest.raises(WireError, match="again and again"):
        loops = []
        loops += [[loops] for _ in range(10)]
        there_and_back(loops)
    twice = {"ref": 0, "list": [{"ref": 1, "list": []}, {"ref": 1, "list": [1]}]}
    blob = {"ref": 0, "list": [{"ref": n, "array": "|u1", "shape": [8], "blob": 0} for n in (1, 2)]}
    for forged in (twice, blob, {"tuple": [{"bytes": 0}, {"bytes": 0}]}):
        with pytest.raises(WireError, match="cannot be read"):
            Decoder(Table(), [b"12345678"], {}).decode(forged)


LINEAR = {"ref": 0, "module": "torch.nn.modules.linear.Linear", "training": True, "settings": {}, "not_saved": [],
          "_parameters": {}, "_buffers": {}, "_modules": {}}


@pytest.mark.parametrize("forged", [
    {"ref": 5}, {"ref": "0"}, {"ref": 0, "array": "|O", "shape": [1], "blob": 0}, {"ref": 0, "array": "<f8", "shape": [99], "blob": 0},
    {"ref": 0, "tensor": 0, "requires_grad": True, "parameter": True, "strides": [1]}, {"float": "x"}, {"unknown": 1}, [1, 2], 1.5,
    LINEAR | {"module": "os.system"}, LINEAR | {"module": "torch.hub.load"}, LINEAR | {"module": "helpers.backbones.small_cnn.json"},
    LINEAR | {"settings": {"forward": 1}}, LINEAR | {"settings": {"__class__": 1}}, LINEAR | {"settings": {"_forward_hooks": 1}},
    LINEAR | {"_parameters": {"weight": "text"}}, LINEAR | {"_modules": {"x": 3}}, LINEAR | {"module": "torch.optim.adam.Adam"},
    {"ref": 0, "optimizer": "torch.optim.adam.Adam", "groups": []}, {"ref": 0, "optimizer": "torch.nn.modules.linear.Linear", "groups": []},
    {"ref": 0, "torch": "load", "device": False}, {"tuple": 3}, {"ref": 0, "dict": [[{"ref": 1, "list": []}, 1]]},
])  # fmt: skip
def test_a_forged_answer_is_refused(forged):
    with pytest.raises(WireError):
        Decoder(Table(), [b"12345678"], {}).decode(forged)


def test_an_argument_cannot_come_back_as_something_else():
    table = Table()
    table.keep(0, np.zeros(2))
    for forged in ({"ref": 0, "list": [1]}, LINEAR, {"ref": 0, "array": "<i4", "shape": [2], "blob": 0}):
        with pytest.raises(WireError):
            Decoder(table, [b"12345678"], {}).decode(forged)


def ends():
    one, two = socket.socketpair()
    return Channel(one), Channel(two)


def test_messages_arrive_whole_and_in_order():
    one, two = ends()
    thread = threading.Thread(target=lambda: [one.send({"n": n}, [b"x" * n * 100_000, b""]) for n in range(5)])
    thread.start()
    assert [(header["n"], [len(blob) for blob in blobs]) for header, blobs in (two.receive(10) for _ in range(5))] == [
        (n, [n * 100_000, 0]) for n in range(5)]
    thread.join()


@pytest.mark.parametrize("sent", [
    b"\xff" * 16, (2).to_bytes(8, "little") + (5).to_bytes(8, "little") + b"{}", (5).to_bytes(8, "little") * 2 + b"{{{{{",
    (8).to_bytes(8, "little") * 2 + b"[1, [9]]", (9).to_bytes(8, "little") * 2 + b"[1, [-1]]",
])  # fmt: skip
def test_a_damaged_message_is_refused(sent):
    one, two = ends()
    one.sock.sendall(sent)
    with pytest.raises(WireError):
        two.receive(1)


def test_silence_and_a_hang_up_are_told_apart():
    one, two = ends()
    with pytest.raises(TimeoutError):
        two.receive(0.05)
    one.sock.close()
    with pytest.raises(EOFError):
        two.receive(1)


def test_too_much_is_refused_before_it_is_sent(monkeypatch):
    monkeypatch.setattr(wire, "MAX_BYTES", 1000)
    with pytest.raises(WireError, match="too much"):
        ends()[0].send({}, [b"x" * 2000])
