"""What a pretrained language model can be asked: does a text entail a statement, how likely is a continuation, which word is missing,
what is its translation?

The tokenizers and models are those of transformers, for example from `hub.load`.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from helpers import config
from helpers.text import BACKBONE_THREADS, check_texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH = 16


def _threads():
    return config.threads(min(BACKBONE_THREADS, config.cores()))


def entailment_label(model: PreTrainedModel) -> int:
    """The place of "entailment" among the labels, which differs from model to model. Raises ValueError when there is none."""
    found = [place for label, place in model.config.label2id.items() if label.lower() == "entailment"]
    if not found:
        raise ValueError(f"the model's labels are {', '.join(model.config.label2id)}, without entailment: pass one trained on "
                         "natural-language inference")
    return found[0]


def entailment_scores(
    texts: Sequence[str], hypotheses: Sequence[str], tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> np.ndarray:
    """(n, k) float32: the logit of "the text entails the hypothesis", for each of n texts and k hypotheses.

    A hypothesis is a statement: "This text is about plots." The hypothesis with the largest score of a row is the class; a
    softmax over the row gives shares. A long text is cut, a hypothesis is not. (Yin, Hay & Roth 2019, arXiv:1909.00161.)
    Raises ValueError for unusable texts or hypotheses, or a model without the label "entailment".
    """
    texts, hypotheses, label = check_texts(texts), check_texts(hypotheses), entailment_label(model)
    # RoBERTa counts its positions from 2.
    limit = min(tokenizer.model_max_length, model.config.max_position_embeddings - 2)
    pairs = [(text, hypothesis) for text in texts for hypothesis in hypotheses]
    order = np.argsort([len(text) + len(hypothesis) for text, hypothesis in pairs], kind="stable")  # little is padded
    scores = np.empty(len(pairs), np.float32)
    with torch.inference_mode(), _threads():
        for start in config.progress(range(0, len(pairs), BATCH), "entailment"):
            places = order[start : start + BATCH]
            first, second = zip(*(pairs[place] for place in places), strict=True)
            cut = {"truncation": "only_first", "max_length": limit}
            batch = tokenizer(list(first), list(second), padding=True, return_tensors="pt", **cut)
            scores[places] = model(**batch.to(model.device)).logits[:, label].cpu().numpy()
    return scores.reshape(len(texts), len(hypotheses))


def in_context_prompt(examples: Sequence[tuple[str, str]], text: str) -> str:
    """The prompt that shows labelled examples, (text, label) each, and ends where the label of `text` is to follow.

    (Brown et al. 2020, arXiv:2005.14165.) Raises ValueError for empty texts.
    """
    check_texts([text, *(part for example in examples for part in example)])
    shown = "".join(f"Text: {example}\nTopic: {label}\n\n" for example, label in examples)
    return f"{shown}Text: {text}\nTopic:"


def continuation_scores(
    prompts: Sequence[str], continuations: Sequence[str], tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> np.ndarray:
    """(n, k) float32: the log-probability, in nats, that a causal model continues each of n prompts with each of k continuations.

    A continuation begins with its space: " images". It is the sum over its tokens, so a long one is unlikely from the start;
    compare continuations after subtracting what each scores elsewhere (`zero_shot.centre`; Zhao et al. 2021, arXiv:2102.09690).
    The prompt is read once, its keys and values are kept for all continuations. (Brown et al. 2020, arXiv:2005.14165.)
    Raises ValueError for unusable texts, or a prompt that with the longest continuation exceeds what the model can read.
    """
    prompts, continuations = check_texts(prompts), check_texts(continuations)
    follow = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in continuations]
    longest, limit = max(map(len, follow)), model.config.max_position_embeddings
    # Padding stands to the right, where no earlier token can see it; its own log-probabilities are left out.
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in follow], device=model.device)
    real = torch.tensor([[place < len(row) for place in range(longest)] for row in follow], device=model.device)
    scores = np.empty((len(prompts), len(follow)), np.float32)
    with torch.inference_mode(), _threads():
        for place, prompt in enumerate(config.progress(prompts, "continuations")):
            ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"].to(model.device)
            if ids.shape[1] + longest > limit:
                raise ValueError(f"prompt {place} has {ids.shape[1]} tokens and the longest continuation {longest}, and "
                                 f"the model reads {limit}: show fewer or shorter examples")
            read = model(ids, use_cache=True)
            first = read.logits[:, -1:].expand(len(follow), -1, -1)
            read.past_key_values.batch_repeat_interleave(len(follow))
            later = model(padded, past_key_values=read.past_key_values).logits[:, :-1]
            each = torch.cat([first, later], 1).log_softmax(-1).gather(2, padded[:, :, None])[:, :, 0]
            scores[place] = (each * real).sum(1).cpu().numpy()
    return scores


def fill_blanks(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, most: int = 3) -> list[list[str]]:
    """For each text with one blank, "___", the `most` likeliest words in its place, the likeliest first, by a masked language model.

    (BERT: Devlin et al. 2019, arXiv:1810.04805.) Raises ValueError for unusable texts, or one without exactly one blank.
    """
    found = []
    with torch.inference_mode(), _threads():
        for text in check_texts(texts):
            if text.count("___") != 1:
                raise ValueError(f"{text!r} has {text.count('___')} blanks: write ___ once, where the word is to be guessed")
            batch = tokenizer(text.replace("___", tokenizer.mask_token), return_tensors="pt").to(model.device)
            (place,) = (batch["input_ids"][0] == tokenizer.mask_token_id).nonzero()[:, 0]
            best = model(**batch).logits[0, place].topk(most).indices
            found.append([tokenizer.decode([token]).strip() for token in best.tolist()])
    return found


def translate(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, max_tokens: int = 128
) -> list[str]:
    """The translations of n texts by an encoder and decoder such as MarianMT: greedy search, at most `max_tokens` tokens each.

    Texts of similar length share a batch. (Sutskever et al. 2014, arXiv:1409.3215; MarianMT: Junczys-Dowmunt et al. 2018,
    arXiv:1804.00344.) Raises ValueError for unusable texts, a text that is longer than the model can read, or max_tokens outside
    1 to the model's limit.
    """
    texts, limit = check_texts(texts), model.config.max_position_embeddings
    if not 1 <= max_tokens <= limit:
        raise ValueError(f"max_tokens is {max_tokens}: choose 1 to {limit}")
    tokens = tokenizer(texts)["input_ids"]
    for place, row in enumerate(tokens):
        if len(row) > limit:
            raise ValueError(f"text {place} has {len(row)} tokens, and the model reads {limit}: "
                             "translate it sentence by sentence")
    order, found = np.argsort([len(row) for row in tokens], kind="stable"), [""] * len(texts)
    with torch.inference_mode(), _threads():
        for start in config.progress(range(0, len(texts), BATCH), "translate"):
            places = order[start : start + BATCH]
            batch = tokenizer.pad({"input_ids": [tokens[place] for place in places]}, return_tensors="pt").to(model.device)
            written = _greedy(model, batch["input_ids"], batch["attention_mask"], max_tokens)
            for place, text in zip(places, tokenizer.batch_decode(written, skip_special_tokens=True), strict=True):
                found[place] = text
    return found


def _greedy(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, max_tokens: int) -> torch.Tensor:
    """(n, tokens) int64: the likeliest token after those before it, step by step, padding after the end."""
    padding, end = model.config.pad_token_id, model.config.eos_token_id
    states, kept = model.get_encoder()(input_ids=ids, attention_mask=mask), None
    last = torch.full_like(ids[:, :1], model.config.decoder_start_token_id)
    written, done = [], torch.zeros_like(last, dtype=torch.bool)
    while len(written) < max_tokens and not done.all():
        step = model(encoder_outputs=states, attention_mask=mask, decoder_input_ids=last, past_key_values=kept, use_cache=True)
        kept, logits = step.past_key_values, step.logits[:, -1].clone()
        logits[:, padding] = -torch.inf  # padding is no word; Marian's decoder starts with it
        last = logits.argmax(1, keepdim=True).masked_fill(done, padding)
        done |= last == end
        written.append(last)
    return torch.cat(written, 1)
