"""Super-resolution: peers, the shipped nets, rendered pages, and every refusal."""
import json
import math
import shutil

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from helpers import super_resolution as sr
from helpers.data import pages
from helpers.errors import CourseError


def test_psnr_against_scikit_image():
    first, second = np.random.default_rng(0).random((2, 20, 30))
    assert math.isclose(sr.psnr(first, second), peak_signal_noise_ratio(second, first, data_range=1))
    assert sr.psnr(first, first) == math.inf and math.isclose(sr.psnr(first + 0.1, first), 20)
    with pytest.raises(ValueError, match="same size"):
        sr.psnr(first, second[:5])


def test_shrink_and_enlarge():
    images = torch.rand(2, 1, 12, 16)
    assert sr.shrink(images).shape == (2, 1, 6, 8) and sr.enlarge(images).shape == (2, 1, 24, 32)
    flat = torch.full((1, 1, 8, 8), 0.3)
    assert torch.allclose(sr.shrink(flat), flat[..., :4, :4], atol=1e-6) and torch.allclose(sr.enlarge(sr.shrink(flat)), flat, atol=1e-6)
    with pytest.raises(ValueError, match="cannot be divided by 2"):
        sr.shrink(torch.rand(1, 1, 7, 8))


def test_an_untrained_net_is_close_to_bicubic_and_blind_to_brightness():
    torch.manual_seed(0)
    net, small = sr.Upscaler(), 0.2 + 0.3 * torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        assert (net(small) - sr.enlarge(small)).abs().max() < 0.1
        correction = net(small) - sr.enlarge(small)
        brighter = net(small + 0.3) - sr.enlarge(small + 0.3)
    assert torch.allclose(correction, brighter, atol=1e-5)
    assert sum(part.numel() for part in net.parameters()) < 20_000


def test_training_beats_bicubic_and_is_repeatable():
    patches = pages.load_source("rendered text", 40, seed=5)
    judged = pages.load_source("rendered text", 40, seed=6)
    scores = []
    for _ in range(2):
        torch.manual_seed(0)
        net = sr.train(sr.Upscaler(), patches, steps=40, learning_rate=3e-3)
        scores.append(np.mean([sr.judge(net, patch) for patch in judged]))
    assert scores[0] == scores[1] > np.mean([sr.judge(sr.enlarge, patch) for patch in judged])
    with pytest.raises(ValueError, match="no patches"):
        sr.train(net, patches[:0], steps=1, learning_rate=1e-3)


def test_judging_leaves_out_the_border():
    image = np.random.default_rng(0).random((33, 41)).astype(np.float32)
    assert sr.crop(image).shape == (32, 40) and sr.restore(sr.enlarge, image).shape == (32, 40)
    whole = sr.restore(sr.enlarge, image)
    assert math.isclose(sr.judge(sr.enlarge, image), sr.psnr(whole[4:-4, 4:-4], image[4:28, 4:36]))
    with pytest.raises(ValueError, match="16 or more"):
        sr.judge(sr.enlarge, image[:12])


def test_turns_keep_the_pixels():
    patches, generator = torch.rand(3, 1, 8, 8), torch.Generator().manual_seed(0)
    turned = [sr.turn(patches, generator) for _ in range(40)]
    assert all(torch.equal(part.flatten(1).sort(1).values, patches.flatten(1).sort(1).values) for part in turned)
    assert len({part.numpy().tobytes() for part in turned}) == 8


@pytest.mark.parametrize("source", pages.SOURCES)
def test_shipped_nets_differ_and_beat_bicubic_on_their_source(source):
    patches, nets = pages.load_source(source, 60, seed=200), [sr.load_upscaler(source, number) for number in range(3)]
    bicubic = np.mean([sr.judge(sr.enlarge, patch) for patch in patches])
    assert min(np.mean([sr.judge(net, patch) for patch in patches]) for net in nets) > bicubic + 0.5
    assert not torch.equal(nets[0].correct[0].weight, nets[1].correct[0].weight)


def test_shipped_nets_are_verified(tmp_path, monkeypatch):
    record = sr.provenance()
    assert list(record["nets"]) == list(pages.SOURCES) and record["steps"] == sr.PRETRAINING_STEPS
    assert sr.WEIGHTS.stat().st_size < 300_000
    with pytest.raises(ValueError, match="choose one of photographs"):
        sr.load_upscaler("paintings")
    with pytest.raises(ValueError, match="choose 0 to 2"):
        sr.load_upscaler("photographs", 3)
    copy = tmp_path / sr.WEIGHTS.name
    shutil.copy(sr.WEIGHTS, copy)
    copy.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(sr, "WEIGHTS", copy)
    assert sr.verify() == copy
    copy.write_bytes(copy.read_bytes() + b"x")
    with pytest.raises(CourseError, match="damaged"):
        sr.load_upscaler("photographs")
    copy.unlink()
    with pytest.raises(CourseError, match="missing"):
        sr.verify()


def test_rendered_pages_have_ink_and_paper():
    page = pages.render_page(np.random.default_rng(0))
    assert page.shape == (400, 400) and page.dtype == np.float32 and page.min() >= 0 and page.max() <= 1
    assert 0.02 < (page < 0.5 * page.max()).mean() < 0.5
    assert np.array_equal(page, pages.render_page(np.random.default_rng(0)))


def test_grey_is_that_of_pillow():
    from PIL import Image

    photograph = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.abs(pages.grey(photograph) - np.asarray(Image.fromarray(photograph).convert("L")) / 255).max() < 1 / 255


def test_patches_and_sources():
    left, right = pages.halves(pages.read_grey("page"))
    assert left.shape[0] == right.shape[0] and left.shape[1] + right.shape[1] == 384
    patches = pages.cut(left, 12, np.random.default_rng(0))
    assert patches.shape == (12, 32, 32) and np.array_equal(patches, pages.cut(left, 12, np.random.default_rng(0)))
    assert pages.load_source("photographs", 20, 1).shape == (20, 32, 32)
    assert "page" not in pages.PHOTOGRAPHS and "text" not in pages.PHOTOGRAPHS and "retina" not in pages.PHOTOGRAPHS


def test_refusals_about_patches():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="grey"):
        pages.cut(np.zeros((50, 50, 3)), 1, rng)
    with pytest.raises(ValueError, match="0-1"):
        pages.cut(np.full((50, 50), 200.0), 1, rng)
    with pytest.raises(ValueError, match="smaller than a patch"):
        pages.cut(np.zeros((20, 50)), 1, rng)
    with pytest.raises(ValueError, match="flat"):
        pages.cut(np.zeros((50, 50)), 40, rng)
    with pytest.raises(ValueError, match="choose one of"):
        pages.load_source("paintings")
    with pytest.raises(ValueError, match="multiple of 10"):
        pages.load_source("photographs", 15)
