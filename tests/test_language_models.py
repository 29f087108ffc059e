"""Entailment, continuations and translation on tiny models of random weights: against transformers' own methods and slow
loops."""
import numpy as np
import pytest
import tiny_hub
import torch
import transformers

from helpers import language_models

TEXTS = tiny_hub.LINES
CLASSES = [" images", " the web of the eigenvalues", " plots", " a"]


def test_entailment_equals_the_pipeline_of_transformers():
    tokenizer, model = tiny_hub.entailment()
    hypotheses = [f"This text is about{name}." for name in CLASSES]
    scores = language_models.entailment_scores(TEXTS, hypotheses, tokenizer, model)
    assert scores.shape == (len(TEXTS), len(CLASSES)) and scores.dtype == np.float32
    peer = transformers.pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
    for found, row in zip(peer(TEXTS, hypotheses, hypothesis_template="{}"), scores, strict=True):
        shares = np.exp(row) / np.exp(row).sum()
        assert np.allclose([found["scores"][found["labels"].index(name)] for name in hypotheses], shares, atol=1e-5)
    assert np.ptp(scores) > 0.1, "the tiny model answers everything alike: this test shows nothing"


def test_the_label_is_found_by_its_name():
    hypothesis = ["It is so."]
    usual, moved = tiny_hub.entailment(), tiny_hub.entailment(("ENTAILMENT", "neutral", "contradiction"))
    assert language_models.entailment_label(usual[1]) == 1 and language_models.entailment_label(moved[1]) == 0
    with torch.no_grad():
        logits = usual[1](**usual[0](TEXTS[0], hypothesis[0], return_tensors="pt")).logits[0]
    for (tokenizer, model), place in ((usual, 1), (moved, 0)):
        score = language_models.entailment_scores(TEXTS[:1], hypothesis, tokenizer, model)
        assert score.item() == pytest.approx(logits[place].item(), abs=1e-5)
    with pytest.raises(ValueError, match="labels are yes, no, without entailment"):
        language_models.entailment_scores(TEXTS, hypothesis, *tiny_hub.entailment(("yes", "no")))


def test_a_long_text_is_cut_and_its_hypothesis_is_not():
    tokenizer, model = tiny_hub.entailment()
    long = "matrix " * 100
    scores = language_models.entailment_scores([long, long + "images"], ["It is so.", "It is not so."], tokenizer, model)
    assert np.allclose(scores[0], scores[1], atol=1e-5) and abs(scores[0, 0] - scores[0, 1]) > 1e-3


def slow_continuation(prompt: str, continuation: str, tokenizer, model) -> float:
    """Token by token, the whole text read anew for each."""
    ids, total = tokenizer(prompt)["input_ids"], 0.0
    for token in tokenizer(continuation)["input_ids"]:
        with torch.no_grad():
            total += model(torch.tensor([ids])).logits[0, -1].double().log_softmax(0)[token].item()
        ids.append(token)
    return total


def test_continuations_equal_a_loop_over_tokens():
    tokenizer, model = tiny_hub.gpt()
    prompts = [language_models.in_context_prompt([(TEXTS[0], "algebra")] * shots, text) for shots in (0, 2) for text in TEXTS[:3]]
    lengths = {len(tokenizer(name)["input_ids"]) for name in CLASSES}
    assert len(lengths) > 2, lengths
    scores = language_models.continuation_scores(prompts, CLASSES, tokenizer, model)
    slow = [[slow_continuation(prompt, name, tokenizer, model) for name in CLASSES] for prompt in prompts]
    assert scores.shape == (6, 4) and np.allclose(scores, slow, atol=1e-3)
    alone = language_models.continuation_scores(prompts[:1], CLASSES[:1], tokenizer, model)
    assert np.allclose(alone, scores[:1, :1], atol=1e-4)


def test_the_prompt_shows_the_examples_and_asks():
    prompt = language_models.in_context_prompt([("Resize a picture.", "images"), ("Draw a line.", "plots")], "Sort a column.")
    assert prompt == "Text: Resize a picture.\nTopic: images\n\nText: Draw a line.\nTopic: plots\n\nText: Sort a column.\nTopic:"
    assert language_models.in_context_prompt([], "Sort a column.") == "Text: Sort a column.\nTopic:"
    with pytest.raises(ValueError, match="is empty"):
        language_models.in_context_prompt([("Draw a line.", "")], "Sort a column.")


def test_a_prompt_that_is_too_long_is_refused():
    tokenizer, model = tiny_hub.gpt(positions=32)
    with pytest.raises(ValueError, match="prompt 1 has .* the model reads 32: show fewer or shorter examples"):
        language_models.continuation_scores(["matrix", "matrix " * 30], CLASSES, tokenizer, model)


def test_translations_equal_those_of_generate_one_text_at_a_time():
    tokenizer, model = tiny_hub.translator()
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    goal = tokenizer(TEXTS[1:] + TEXTS[:1], padding=True, return_tensors="pt")
    labels = goal["input_ids"].masked_fill(goal["attention_mask"] == 0, -100)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(200):  # with random weights it says one word for ever
        optimiser.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimiser.step()
    texts = [*TEXTS, *(f"{text} {text}" for text in TEXTS), *(text[:20] for text in TEXTS)]  # more than one batch
    expected = []
    for text in texts:
        ids = model.generate(
            **tokenizer(text, return_tensors="pt", return_token_type_ids=False), do_sample=False, num_beams=1, max_new_tokens=20,
            bad_words_ids=[[1]], forced_eos_token_id=None,
        )
        expected.append(tokenizer.decode(ids[0], skip_special_tokens=True))
    found = language_models.translate(texts, tokenizer, model, max_tokens=20)
    assert found == expected and len(set(found)) >= 6 and len({len(tokenizer(text)["input_ids"]) for text in found}) >= 4, found


def test_a_translation_ends_where_the_model_says_so():
    tokenizer, model = tiny_hub.translator()
    ids = torch.tensor([[7, 8, 9, 2], [9, 2, 1, 1]])
    with torch.no_grad():
        free = language_models._greedy(model, ids, (ids != 1).long(), 20)
        model.final_logits_bias[0, 2] = 100  # says "the end" at once
        ended = language_models._greedy(model, ids, (ids != 1).long(), 20)
    assert free.shape[1] > 1 and not (free == 1).all(1).any() and ended.tolist() == [[2], [2]]
    assert language_models.translate(TEXTS, tokenizer, model) == [""] * len(TEXTS)


def test_what_cannot_be_read_is_refused():
    tokenizer, model = tiny_hub.translator()
    with pytest.raises(ValueError, match="max_tokens is 0: choose 1 to 256"):
        language_models.translate(TEXTS, tokenizer, model, max_tokens=0)
    with pytest.raises(ValueError, match="text 1 has .* translate it sentence by sentence"):
        language_models.translate(["two", "two " * 300], tokenizer, model)
    for call in (
        lambda: language_models.translate("two", tokenizer, model),
        lambda: language_models.continuation_scores("two", CLASSES, *tiny_hub.gpt()),
        lambda: language_models.entailment_scores(TEXTS, "one", *tiny_hub.entailment()),
    ):
        with pytest.raises(ValueError, match="pass a list of texts"):
            call()


def test_blanks_are_filled_with_the_likeliest_words():
    tokenizer, model = tiny_hub.bert()
    (words,) = language_models.fill_blanks(["a b ___ d ."], tokenizer, model, most=4)
    batch = tokenizer("a b [MASK] d .", return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits[0, 3]
    assert words == [tokenizer.decode([token]) for token in logits.topk(4).indices.tolist()]
    for wrong, count in (("no blank", 0), ("___ and ___", 2)):
        with pytest.raises(ValueError, match=f"has {count} blanks: write ___ once"):
            language_models.fill_blanks([wrong], tokenizer, model)
