"""The contrastive loss against PyTorch's cross-entropy, the maps on a world that is linear, recall on hand-worked cases, captions."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers import crossmodal
from helpers.data import captioned_photos, photos


def test_the_loss_is_the_mean_of_two_cross_entropies():
    torch.manual_seed(0)
    first, second = torch.randn(7, 5), torch.randn(7, 5)
    logits = 9.0 * F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    places = torch.arange(7)
    expected = (F.cross_entropy(logits, places) + F.cross_entropy(logits.T, places)) / 2
    assert torch.isclose(crossmodal.contrastive_loss(first, second, 9.0), expected)
    assert torch.isclose(crossmodal.contrastive_loss(first, second, 9.0, torch.eye(7, dtype=torch.bool)), expected)
    assert torch.isclose(crossmodal.contrastive_loss(3 * first, 0.1 * second, 9.0), expected)
    guess = crossmodal.contrastive_loss(torch.ones(7, 5), torch.ones(7, 5), 9.0)
    assert guess.item() == pytest.approx(np.log(7), abs=1e-4)


def test_partners_that_belong_together_may_be_exchanged():
    torch.manual_seed(1)
    first, second, same = torch.randn(4, 3), torch.randn(4, 3), torch.eye(4, dtype=torch.bool)
    same[1, 2] = same[2, 1] = True
    exchanged = second[[0, 2, 1, 3]]
    assert torch.isclose(*(crossmodal.contrastive_loss(first, other, 5.0, same) for other in (second, exchanged)))
    assert not torch.isclose(*(crossmodal.contrastive_loss(first, other, 5.0) for other in (second, exchanged)))


def test_shared_targets_are_shared_for_each_query_of_each_direction():
    """`same` need not be symmetric: the sums over rows and over columns then differ."""
    first, second = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    same = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 1]], dtype=torch.bool)
    unit = [side / side.norm(dim=1, keepdim=True) for side in (first, second)]
    logits, total = 5 * unit[0] @ unit[1].T, 0.0
    for i in range(3):
        total -= sum(logits[i].log_softmax(0)[j] for j in range(3) if same[i, j]) / same[i].sum() / 6
        total -= sum(logits[:, i].log_softmax(0)[j] for j in range(3) if same[j, i]) / same[:, i].sum() / 6
    assert torch.isclose(crossmodal.contrastive_loss(first, second, 5.0, same), total)


@pytest.mark.parametrize("first, second, same, sentence", [
    (torch.ones(3, 2), torch.ones(4, 2), None, "the same length on both sides"),
    (torch.ones(3), torch.ones(3), None, "the same length on both sides"),
    (torch.ones(1, 2), torch.ones(1, 2), None, "one pair alone"),
    (torch.ones(2, 2), torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool), "must be True on its diagonal"),
])  # fmt: skip
def test_unusable_pairs_are_refused(first, second, same, sentence):
    with pytest.raises(ValueError, match=sentence):
        crossmodal.contrastive_loss(first, second, 10.0, same)


def linear_world(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that are two linear views of the same five numbers, on very different scales."""
    rng, views = np.random.default_rng(seed), np.random.default_rng(99)
    hidden, one, two = rng.standard_normal((n, 5)), views.standard_normal((5, 20)), views.standard_normal((5, 12))
    return 100 + 30 * hidden @ one, 0.01 * hidden @ two


def test_two_maps_find_the_partners_of_new_pairs_and_shuffled_pairs_teach_nothing():
    first, second = linear_world(400, 0)
    new_first, new_second = linear_world(50, 1)
    maps = crossmodal.fit_maps(first, second, steps=200, width=16, seed=0)
    cosines = maps.embed(new_first, "first") @ maps.embed(new_second, "second").T
    assert crossmodal.recall_at(cosines, np.arange(50)) > 0.8
    again = crossmodal.fit_maps(first, second, steps=200, width=16, seed=0)
    assert np.array_equal(maps.embed(new_first, "first"), again.embed(new_first, "first")) and not maps.training
    shuffled = crossmodal.fit_maps(first, np.random.default_rng(0).permutation(second), steps=200, width=16, seed=0)
    cosines = shuffled.embed(new_first, "first") @ shuffled.embed(new_second, "second").T
    assert crossmodal.recall_at(cosines, np.arange(50)) < 0.2
    assert np.allclose(np.linalg.norm(maps.embed(new_first, "first"), axis=1), 1, atol=1e-5)


def test_unusable_sides_are_sentences():
    first, second = linear_world(8, 0)
    with pytest.raises(ValueError, match="pass two or more pairs, as many on one side as on the other"):
        crossmodal.fit_maps(first, second[:5])
    with pytest.raises(ValueError, match="pass two or more pairs"):
        crossmodal.fit_maps(first[:1], second[:1])
    maps = crossmodal.fit_maps(first, second, steps=2)
    with pytest.raises(ValueError, match="no side called 'third': choose first or second"):
        maps.embed(first, "third")
    with pytest.raises(ValueError, match=r"the second side takes \(n, 12\)"):
        maps.embed(first, "second")


def test_recall_on_hand_worked_cases_and_with_ties():
    scores = np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.3]])
    assert [crossmodal.recall_at(scores, [2, 1], k) for k in (1, 2, 3)] == [0.5, 1.0, 1.0]
    assert crossmodal.recall_at(np.zeros((5, 4)), [0, 1, 2, 3, 0]) == 0.25  # a collapsed encoder scores at chance
    assert crossmodal.recall_at([[3.0, 1, 1, 0]], [2], 2) == 0.5
    for arguments, sentence in (
        ((np.zeros((0, 3)), np.zeros(0, int)), "with a query"),
        ((np.zeros((2, 3)), [0, 1], 4), "k is 4 for 3 candidates"),
        ((np.zeros((2, 3)), [0, 3]), "what is never offered cannot be found"),
        ((np.zeros(3), [0]), "pass .queries, candidates."),
    ):
        with pytest.raises(ValueError, match=sentence):
            crossmodal.recall_at(*arguments)


def test_captions_say_what_is_in_the_image():
    told = captioned_photos.caption([3, 0, 2, 1])
    assert told == "a blurred red picture of a cat with fur, upside down"
    other = captioned_photos.caption([3, 0, 2, 1], 2, other_words=True)
    assert other == "a photo of a kitten that is out of focus, on its head and crimson"
    sizes = [len(values) for values in captioned_photos.VALUES]
    usual = {captioned_photos.caption(row, template) for row in np.ndindex(*sizes) for template in (0, 1)}
    words = {word.strip(",") for told in usual for word in told.split()}
    for names in (captioned_photos.TINTS, captioned_photos.FOCUS):
        assert not set(" ".join(names.values()).split()) - {"of"} & words
    for wrong in ([17, 0, 0, 0], [0, 0, 0], [0, -1, 0, 0]):
        with pytest.raises(ValueError, match="pass the places of subject, tint, turn, focus"):
            captioned_photos.caption(wrong)
    with pytest.raises(ValueError, match="no template 3: choose 0 to 2"):
        captioned_photos.caption([0, 0, 0, 0], 3)


def test_captioned_photos_show_their_attributes():
    data = captioned_photos.load_captioned_photos(3, 2)
    assert data.images.shape == (17 * 5, 64, 64, 3) and data.images.dtype == np.uint8
    assert (data.groups == photos.TRAIN).sum() == 51 and np.bincount(data.attributes[:, 0]).tolist() == [5] * 17
    mean = data.images.astype(float).mean((1, 2))
    for tint, channel in (("red", 0), ("green", 1), ("blue", 2)):
        chosen = data.attributes[:, 1] == list(captioned_photos.TINTS).index(tint)
        assert (mean[chosen].argmax(1) == channel).all(), tint
    grey = data.attributes[:, 1] == list(captioned_photos.TINTS).index("gray")
    assert (np.ptp(data.images[grey].astype(int), axis=3) == 0).all()
    again = captioned_photos.load_captioned_photos(3, 2)
    assert np.array_equal(data.images, again.images)
    with pytest.raises(ValueError, match="cut 1 or more pieces"):
        captioned_photos.load_captioned_photos(0, 2)


def test_one_in_five_combinations_is_held_out_and_each_seed_has_its_own():
    combinations = np.array(list(np.ndindex(17, 4, 4, 2)))
    masks = np.stack([captioned_photos.held_out(combinations, seed) for seed in range(5)])
    assert (masks.sum(0) == 1).all() and np.allclose(masks.mean(1), 0.2, atol=0.02)
    by_parts = {tuple(row[[0, 1, 3]]) for row in combinations[masks[0]]}
    assert not any(tuple(row[[0, 1, 3]]) in by_parts for row in combinations[~masks[0]])  # whatever the turn


def test_clip_puts_images_and_texts_of_a_tiny_model_into_one_space():
    import tiny_hub

    tokenizer, model = tiny_hub.clip()
    texts = crossmodal.clip_embed(model, texts=["a matrix", "a great film about images"], tokenizer=tokenizer)
    images = crossmodal.clip_embed(model, images=np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))
    assert texts.shape == (2, 8) and images.shape == (3, 8)
    assert np.allclose(np.linalg.norm(np.concatenate([texts, images]), axis=1), 1, atol=1e-5)
    with torch.inference_mode():
        batch = tokenizer(["a matrix", "a great film about images"], padding=True, return_tensors="pt")
        scores = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], pixel_values=torch.zeros(1, 3, 32, 32))
    assert np.allclose(scores.text_embeds.numpy(), texts, atol=1e-5)
    grey = np.broadcast_to(np.round(np.array(crossmodal.CLIP_MEAN) * 255), (1, 64, 64, 3)).astype(np.uint8)
    assert np.allclose(scores.image_embeds.numpy(), crossmodal.clip_embed(model, images=grey), atol=0.02)
    with pytest.raises(ValueError, match="pass either images or texts"):
        crossmodal.clip_embed(model)
    with pytest.raises(ValueError, match="there are no images"):
        crossmodal.clip_embed(model, images=np.zeros((0, 8, 8, 3), np.uint8))
