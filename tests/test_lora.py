"""LoRA: its parameters, start and merge, and that it is what peft computes."""
import copy

import pytest
import torch
from torch import nn

from helpers import lora


class Net(nn.Module):
    """Two linear layers with names as in a BERT, and one that is left alone."""

    def __init__(self):
        super().__init__()
        self.query, self.value, self.classifier = nn.Linear(12, 12), nn.Linear(12, 7, bias=False), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.tanh(self.value(torch.relu(self.query(x)))))


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().double()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(5, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def trained(model: nn.Module) -> nn.Module:
    """As after some training: B is no longer 0."""
    for part in model.modules():
        if isinstance(part, lora.LoRALinear):
            nn.init.normal_(part.up)
    return model


@pytest.mark.parametrize("d, k, rank", [(12, 12, 1), (7, 12, 3), (30, 4, 4)])
def test_a_layer_trains_rank_times_both_widths_and_begins_without_change(d, k, rank):
    base = nn.Linear(k, d)
    inputs = torch.randn(6, k)
    before, weight = base(inputs), base.weight.clone()
    layer = lora.LoRALinear(base, rank, alpha=3.0)
    assert sum(p.numel() for p in layer.parameters() if p.requires_grad) == rank * (d + k)
    assert torch.equal(layer(inputs), before)
    layer(inputs).square().sum().backward()
    assert base.weight.grad is None and layer.up.grad.abs().max() > 0
    assert torch.equal(layer.down.grad, torch.zeros_like(layer.down))  # its gradient comes through B, which is 0
    assert torch.equal(base.weight, weight)


def test_the_merge_is_exact_and_leaves_no_lora(net, x):
    model = trained(lora.add_lora(net, rank=4))
    before = model(x)
    query = model.query
    merged = lora.merge_lora(copy.deepcopy(model))
    assert torch.allclose(merged(x), before, atol=1e-12)
    assert not any(isinstance(part, lora.LoRALinear) for part in merged.modules())
    assert torch.linalg.matrix_rank(merged.query.weight - query.base.weight) == 4
    assert torch.equal(model(x), before)  # the model that was copied is as it was
    with pytest.raises(ValueError, match="no LoRA layer"):
        lora.merge_lora(merged)


def test_output_and_training_equal_those_of_peft(net, x):
    from peft import LoraConfig, get_peft_model

    mine = lora.add_lora(copy.deepcopy(net), rank=3, alpha=5.0)
    theirs = get_peft_model(copy.deepcopy(net), LoraConfig(r=3, lora_alpha=5.0, target_modules=["query", "value"]))
    with torch.no_grad():
        for name in ("query", "value"):
            peer = getattr(theirs.base_model.model, name)
            peer.to(torch.float64)
            peer.lora_A["default"].weight.copy_(getattr(mine, name).down)
    losses = []
    for model in (mine, theirs):
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.01)
        for _ in range(5):
            loss = model(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-9)
    assert torch.allclose(lora.merge_lora(mine)(x), theirs.merge_and_unload()(x), atol=1e-9)


def test_only_named_layers_are_replaced_and_all_else_is_frozen(net):
    model = lora.add_lora(net, "value", rank=2)
    assert isinstance(model.value, lora.LoRALinear) and isinstance(model.query, nn.Linear)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"value.down", "value.up"}


def test_an_adapter_is_stored_and_put_back(net, x, tmp_path):
    start = copy.deepcopy(net)
    model = trained(lora.add_lora(net, rank=2))
    model.classifier.requires_grad_(True)
    size = lora.save_adapter(model, tmp_path / "adapter.safetensors")
    values = 2 * (12 + 12) + 2 * (12 + 7) + 3 * 8
    assert values * 8 <= size < values * 8 + 1024
    fresh = lora.add_lora(copy.deepcopy(start), rank=2)
    with pytest.raises(ValueError, match="does not fit, for example classifier"):
        lora.load_adapter(fresh, tmp_path / "adapter.safetensors")
    fresh.classifier.requires_grad_(True)
    assert torch.equal(lora.load_adapter(fresh, tmp_path / "adapter.safetensors")(x), model(x))
    other = lora.add_lora(start, rank=3)
    other.classifier.requires_grad_(True)
    with pytest.raises(ValueError, match="does not fit"):
        lora.load_adapter(other, tmp_path / "adapter.safetensors")


def test_unusable_input_gets_a_sentence(net, tmp_path):
    with pytest.raises(ValueError, match="a Tanh, not a linear one"):
        lora.LoRALinear(nn.Tanh())
    for rank in (0, 8):
        with pytest.raises(ValueError, match="choose 1 to 7"):
            lora.LoRALinear(net.value, rank)
    with pytest.raises(ValueError, match="no part is called key: the linear layers are called classifier, query, value"):
        lora.add_lora(net, ("query", "key"))
    with pytest.raises(ValueError, match="nothing is trainable"):
        lora.save_adapter(net.requires_grad_(False), tmp_path / "none")
