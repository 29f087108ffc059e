"""The tail of the encoder, its batches and rates, and the loop, which is what Trainer does."""
import numpy as np
import pytest
import torch
from torch import nn

from helpers import experiment, finetuning, text_finetuning
from helpers.backbones import minilm
from helpers.errors import CourseError

TEXTS = ["Return the mean of each column.", "Close the file.", "word " * 60, "Smile \N{GRINNING FACE}!", "x"]


@pytest.fixture(scope="module")
def encoder():
    return minilm.load_minilm().cpu()


@pytest.fixture(scope="module")
def states():
    return text_finetuning.hidden_states(TEXTS, layer=4)


def test_cached_states_and_the_tail_are_the_whole_encoder(encoder, states):
    assert states.shape == (5, 32, minilm.WIDTH) and states.dtype == torch.float32
    tokenizer = minilm.load_tokenizer()
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=32, return_tensors="pt")
    with torch.inference_mode():
        pooled = minilm.mean_pool(encoder(**batch).last_hidden_state, batch["attention_mask"])
    whole = torch.nn.functional.normalize(pooled, dim=1).numpy()
    for first in (0, 4, 6):
        tail = text_finetuning.Tail(encoder, first, classes=3)
        found = text_finetuning.embed(tail, text_finetuning.hidden_states(TEXTS, first), batch_size=2)
        assert np.abs(found - whole).max() < 1e-5
    assert (states[1, 6:] == 0).all() and (states[1, :5] != 0).any(-1).all()


def test_the_tail_answers_as_models_of_transformers_do(encoder, states):
    tail = text_finetuning.Tail(encoder, 5, classes=3).eval()
    output = tail(states, labels=torch.tensor([0, 1, 2, 0, 1]))
    assert output.logits.shape == (5, 3) and output.loss.ndim == 0
    assert tail(states).loss is None
    weighted = text_finetuning.Tail(encoder, 5, 3, class_weights=torch.tensor([1.0, 2.0, 0.0]))
    weighted.classifier = tail.classifier
    each = -output.logits.log_softmax(1)[[0, 3, 1, 4], [0, 0, 1, 1]]  # class 2 counts nothing
    found = weighted.eval()(states, labels=torch.tensor([0, 1, 2, 0, 1])).loss
    assert torch.isclose(found, each @ torch.tensor([1.0, 1.0, 2.0, 2.0]) / 6)
    assert text_finetuning.predict(tail, states).tolist() == output.logits.argmax(1).tolist()
    kept = encoder.encoder.layer[5].output.dense.weight.clone()
    batch = {"states": states, "labels": torch.zeros(5, dtype=torch.long)}
    text_finetuning.finetune(tail, [batch], [{"params": list(tail.parameters()), "lr": 1.0}], warm_up=0)
    assert not torch.equal(tail.layers[0].output.dense.weight, kept)
    assert torch.equal(encoder.encoder.layer[5].output.dense.weight, kept)  # the tail has copies


def test_the_loop_is_what_trainer_does(tmp_path):
    from transformers import AutoModelForSequenceClassification, PrinterCallback, Trainer, TrainingArguments

    def classifier() -> nn.Module:
        torch.manual_seed(0)
        dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        return AutoModelForSequenceClassification.from_pretrained(minilm.verify(), num_labels=3, num_hidden_layers=1, **dropout)

    ids = torch.randint(1000, 2000, (24, 6), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": row, "attention_mask": torch.ones(6, dtype=torch.long), "labels": place % 3} for place, row in enumerate(ids)]
    settings = {"per_device_train_batch_size": 4, "max_steps": 6, "learning_rate": 1e-3, "warmup_steps": 2, "max_grad_norm": 0.5}
    quiet = {"logging_steps": 1, "save_strategy": "no", "report_to": "none", "disable_tqdm": True, "use_cpu": True}
    options = TrainingArguments(str(tmp_path), train_sampling_strategy="sequential", **settings, **quiet)
    trainer = Trainer(classifier(), options, train_dataset=rows)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    model = classifier()
    mask = torch.ones(4, 6, dtype=torch.long)
    parts = [torch.arange(at, at + 4) for at in range(0, 24, 4)]
    batches = [{"input_ids": ids[part], "attention_mask": mask, "labels": part % 3} for part in parts]
    losses = text_finetuning.finetune(model, batches, [{"params": list(model.parameters()), "lr": 1e-3}], warm_up=1 / 3, clip=0.5)
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert np.abs(np.array(losses) - theirs).max() < 1e-4
    assert max((p - q).abs().max() for p, q in zip(model.parameters(), trainer.model.parameters(), strict=True)) < 1e-4
    assert not model.training


def test_rates_fall_with_depth_and_frozen_parts_are_left_out(encoder):
    tail = text_finetuning.Tail(encoder, 3, classes=2)
    groups = text_finetuning.layer_groups(tail, 1.0, 7.0, decay=0.5)
    assert [group["lr"] for group in groups] == [0.25, 0.5, 1.0, 7.0]
    assert sum(len(group["params"]) for group in groups) == len(list(tail.parameters()))
    finetuning.freeze(tail.layers[:2])
    assert [group["lr"] for group in text_finetuning.layer_groups(tail, 1.0, 7.0, decay=0.5)] == [1.0, 7.0]
    for decay in (0, 1.5):
        with pytest.raises(ValueError, match="above 0, up to 1"):
            text_finetuning.layer_groups(tail, 1.0, 7.0, decay)


def test_the_head_is_that_of_the_best_probe(encoder):
    task = text_finetuning.load_task("category")
    learn, _ = text_finetuning.draw("category", seed=0)
    inputs = text_finetuning.hidden_states(task.texts, 6)[learn]
    tail, peer = (text_finetuning.Tail(encoder, 6, classes=4) for _ in range(2))
    text_finetuning.fit_head(tail, inputs, task.labels[learn])
    finetuning.fit_classifier(peer, inputs, task.labels[learn])
    assert torch.allclose(tail.classifier.weight, peer.classifier.weight, atol=1e-2)
    assert (text_finetuning.predict(tail, inputs) == text_finetuning.predict(peer, inputs)).all()
    with pytest.raises(ValueError, match=r"the labels are \[0, 1\] for 4 classes"):
        text_finetuning.fit_head(tail, inputs[:2], [0, 1])


def test_batches_go_through_all_texts_with_little_padding():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 33, 160)
    states = torch.zeros(160, 32, 4)
    for row, length in zip(states, lengths, strict=True):
        row[:length] = 1.0
    states[:, 0, 0] = torch.arange(1.0, 161.0)  # which text it is
    batches = text_finetuning.length_batches(states, np.arange(160), steps=25, seed=0)
    assert len(batches) == 25
    first = torch.cat([batch["labels"] for batch in batches[:10]])
    assert sorted(first.tolist()) == list(range(160)) and first.tolist() != list(range(160))
    for batch in batches:
        assert torch.equal(batch["states"][:, 0, 0], batch["labels"] + 1.0)
        assert batch["states"].shape[1] == lengths[batch["labels"].numpy()].max()
    cells = sum(batch["states"].shape[0] * batch["states"].shape[1] for batch in batches[:10])
    assert lengths.sum() / cells > 0.85
    again = text_finetuning.length_batches(states, np.arange(160), steps=25, seed=0)
    assert all(torch.equal(a["labels"], b["labels"]) for a, b in zip(batches, again, strict=True))


@pytest.mark.parametrize("name", text_finetuning.TASKS)
def test_no_group_is_on_both_sides_and_the_inner_split_stays_in_the_training_side(name):
    task = text_finetuning.load_task(name)
    learn, judge = text_finetuning.draw(name, seed=0)
    inner_learn, inner_judge = text_finetuning.draw(name, seed=0, inner=True)
    for a, b in ((learn, judge), (inner_learn, inner_judge), (inner_learn, judge), (inner_judge, judge)):
        assert not set(task.groups[a]) & set(task.groups[b])
    assert np.bincount(task.labels[learn]).tolist() == [text_finetuning.TASKS[name]] * len(task.class_names)


def test_every_arm_trains_what_it_says(encoder):
    counts = {arm: sum(p.requires_grad for p in text_finetuning.build(arm, 4, encoder).parameters()) for arm in text_finetuning.ARMS}
    assert counts["last layer"] == 18 and counts["last two layers"] == 34 and counts["all six layers"] == 98
    assert counts["LoRA on the last two"] == 2 * 2 * 2 + 2


def test_a_trained_adapter_comes_from_the_cache_the_second_time(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(text_finetuning, "STEPS", 2)
    first = text_finetuning.train_lora("category", 1e-3, 0)
    monkeypatch.setattr(text_finetuning, "train", None)  # may not be called again
    second = text_finetuning.train_lora("category", 1e-3, 0)
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    accuracies = [text_finetuning.judge(tail, "category", text_finetuning.LORA_ARM, 0) for tail in (first, second)]
    assert accuracies[0] == accuracies[1] > 0.3


def test_the_stored_sweep_has_a_rate_for_every_arm_and_task(tmp_path, monkeypatch):
    rates = text_finetuning.tuned_rates()
    assert set(rates) == set(text_finetuning.TASKS) and all(set(arms) == set(text_finetuning.ARMS) for arms in rates.values())
    assert rates == experiment.best_rates(text_finetuning.SWEEP, "task", "arm")
    monkeypatch.setattr(text_finetuning, "SWEEP", tmp_path / "none.json")
    with pytest.raises(CourseError, match="run `python data_scripts/tune_text_finetuning.py`"):
        text_finetuning.tuned_rates()


def test_unusable_input_gets_a_sentence(encoder, states):
    for call, message in (
        (lambda: text_finetuning.hidden_states(["a", ""], 4), "text 1 is empty"),
        (lambda: text_finetuning.hidden_states(["a", None], 4), "text 1 is a NoneType"),
        (lambda: text_finetuning.hidden_states(["a"], 7), "layer is 7: choose 0"),
        (lambda: text_finetuning.hidden_states(["a"], 4, max_tokens=2), "max_tokens is 2: choose 3"),
        (lambda: text_finetuning.Tail(encoder, 7, 2), "first is 7: the encoder has 6 layers"),
        (lambda: text_finetuning.Tail(encoder, 4, 1), "classes is 1"),
        (lambda: text_finetuning.length_batches(states, [0], 1, 0), "5 texts and 1 labels"),
        (lambda: text_finetuning.length_batches(states, [0] * 5, 0, 0), "steps is 0"),
        (lambda: text_finetuning.load_task("mood"), "no task called 'mood': choose one of topic, category"),
        (lambda: text_finetuning.build("head", 2, encoder), "no arm called 'head'"),
        (lambda: text_finetuning.finetune(nn.Linear(2, 2), [], []), "nothing|0 parameters to train on 0 batches"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_loss_that_is_not_finite_stops_the_training(encoder, states):
    tail = text_finetuning.Tail(encoder, 5, classes=2)
    nn.init.constant_(tail.classifier.weight, float("nan"))
    with pytest.raises(ValueError, match="the loss is nan at step 1"):
        text_finetuning.finetune(tail, [{"states": states, "labels": torch.zeros(5, dtype=torch.long)}], [{"params": tail.parameters()}])
