"""Data: images and labels are checked, splits do not leak, the cache is never trusted blindly."""
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.data import augment, cache, digits, glyphs, photos, splits
from helpers.data.images import check_images, check_labels, to_tensor
from helpers.errors import CourseError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "images, says",
    [
        (np.zeros((8, 8), np.uint8), "first axis"),
        (np.zeros((2, 8, 8, 4), np.uint8), "shape"),
        (np.zeros((0, 8, 8), np.uint8), "no images"),
        (np.zeros((2, 8, 8), np.int64), "dtype"),
        (np.full((2, 8, 8), np.nan, np.float32), "NaN"),
        (np.full((2, 8, 8), 200, np.float32), "divide by 255"),
    ],
)
def test_unusable_images_are_refused_with_what_to_do(images, says):
    with pytest.raises(ValueError, match=says):
        check_images(images)


@pytest.mark.parametrize("labels, says", [([0, 1], "one label for each"), ([0.5, 1, 2], "whole numbers"), ([0, -1, 1], "count from 0")])
def test_unusable_labels_are_refused(labels, says):
    with pytest.raises(ValueError, match=says):
        check_labels(np.array(labels), 3)


def test_to_tensor_scales_and_puts_channels_first():
    colour = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    tensor = to_tensor(colour)
    assert tensor.shape == (2, 3, 5, 4) and torch.allclose(tensor[1, 2, 3, 0], torch.tensor(colour[1, 3, 0, 2] / 255).float())
    assert to_tensor(np.ones((2, 8, 8), np.float32)).shape == (2, 1, 8, 8)


@pytest.mark.parametrize("seed", range(5))
def test_k_shot_is_balanced_nested_and_inside_the_pool(seed):
    labels = np.random.default_rng(seed).integers(0, 4, 400)
    pool, test = splits.stratified_half(labels, seed)
    assert not set(pool) & set(test) and len(pool) + len(test) == 400
    few, more = (splits.k_shot(labels, k, seed, pool) for k in (3, 7))
    assert set(few) <= set(more) <= set(pool)
    assert (np.bincount(labels[more]) == 7).all() and len(set(more)) == 28


def test_k_shot_says_what_is_missing():
    labels = np.array([0, 0, 0, 1, 2, 2])
    with pytest.raises(ValueError, match="class 1 has only 1"):
        splits.k_shot(labels, 2, 0)
    with pytest.raises(ValueError, match="class 3 has no image"):
        splits.k_shot(labels, 1, 0, classes=4)
    with pytest.raises(ValueError, match="k is 0"):
        splits.k_shot(labels, 0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_no_group_stands_on_both_sides(seed):
    groups = np.random.default_rng(seed).integers(0, 9, 200)
    train, test = splits.group_split(groups, 0.3, seed)
    assert not set(groups[train]) & set(groups[test]) and len(train) + len(test) == 200
    with pytest.raises(ValueError, match="one group"):
        splits.group_split(np.zeros(5, int), 0.3, seed)


def test_the_data_sets_are_what_the_cards_say():
    assert "1,797" in digits.verify() and "21 font faces" in glyphs.verify() and "19 photographs" in photos.verify()
    assert digits.load_digits().images.max() == 1
    letters = glyphs.load_glyphs("letters", 2)
    assert letters.images.shape == (104, 8, 8) and set(np.unique(letters.images * 16)) <= set(range(17))
    with pytest.raises(ValueError, match="no glyphs called"):
        glyphs.load_glyphs("runes")


def test_rendering_is_deterministic_and_follows_its_seed():
    first, again, other = (glyphs.render("0123456789", 3, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.images, again.images) and not np.array_equal(first.images, other.images)


def test_patches_of_the_two_halves_share_no_pixel_and_have_no_brightness_shortcut():
    rng = np.random.default_rng(0)
    photograph = np.zeros((300, 400, 3), np.uint8)
    for _ in range(300):
        _, left, side = photos.patch_box(photograph, photos.TRAIN, rng)
        assert left + side <= 196
        assert photos.patch_box(photograph, photos.TEST, rng)[1] >= 204
    patches = photos.load_photos(2)
    assert patches.images.shape == (76, 64, 64, 3) and abs(patches.images.mean((1, 2)) - 127).max() < 12


def test_photographs_that_cannot_be_read_are_named(tmp_path, capsys):
    with pytest.raises(CourseError, match="no file"):
        photos.read_folder(tmp_path / "nothing.png")
    with pytest.raises(CourseError, match="holds no images"):
        photos.read_folder(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(CourseError, match="none of the 1 images"):
        photos.read_folder(tmp_path)
    source = photos.photograph_path("coffee")
    (tmp_path / "good.png").write_bytes(source.read_bytes())
    (tmp_path / "short.png").write_bytes(source.read_bytes()[:2000])
    assert [name for name, _ in photos.read_folder(tmp_path)] == ["good.png"]
    assert "broken.jpg" in capsys.readouterr().out


def test_grey_levels_of_16_bits_keep_their_upper_8(tmp_path):
    for kind, dtype in (("png", ">u2"), ("tif", "<u2"), ("tif", ">u2"), ("tif", "<i4")):
        levels = np.array([[0, 511, 32768, 65535]] * 4, dtype)
        Image.fromarray(levels if kind == "tif" else levels.astype(np.uint16)).save(tmp_path / f"grey.{kind}")
        assert photos.read_photograph(tmp_path / f"grey.{kind}")[0].tolist() == [[level] * 3 for level in (0, 1, 128, 255)]


def test_files_that_cost_too_much_are_refused(tmp_path):
    (tmp_path / "eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\nshowpage\n")
    with pytest.raises(CourseError, match="cannot identify"):  # no other program is asked
        photos.read_photograph(tmp_path / "eps.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "good.jpg", progressive=True)
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "scans.jpg").write_bytes(whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * 200 + whole[-2:])
    assert photos.read_photograph(tmp_path / "good.jpg").shape == (64, 64, 3)
    with pytest.raises(CourseError, match="more than 100 scans"):
        photos.read_photograph(tmp_path / "scans.jpg")


def test_jitter_keeps_shape_and_range_and_follows_its_generator():
    images = torch.rand(6, 3, 8, 8)
    change = augment.jitter(flip=True)
    first, again, other = (change(images, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.shape == images.shape and 0 <= first.min() and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)
    still = augment.jitter(0, 0, 0, 0, 0, 0)(images, torch.Generator().manual_seed(0))
    assert torch.allclose(still, images, atol=1e-5)


def cached_files() -> list[Path]:
    from helpers import config

    return [path for path in config.cache_dir().rglob("output.pkl")]


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A cached function of a module of its own, and the list of its real calls."""
    (tmp_path / "counting.py").write_text("calls = []\ndef double(x):\n    calls.append(1)\n    return x * 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("counting")
    module.calls.clear()
    return cache.cached(module.double), module.calls


def test_the_cache_computes_once_for_each_content(counted):
    double, calls = counted
    for _ in range(2):
        assert np.array_equal(double(np.arange(5)), np.arange(5) * 2)
    double(np.arange(6))
    assert len(calls) == 2


@pytest.mark.parametrize("damage", ["truncated", "emptied", "altered"])
def test_a_damaged_entry_is_rebuilt(counted, damage):
    double, calls = counted
    expected = double(np.arange(500.0))
    (path,) = cached_files()
    content = bytearray(path.read_bytes())
    if damage == "altered":
        content[-60] ^= 0xFF  # one byte of the stored array
    path.write_bytes({"truncated": content[: len(content) // 2], "emptied": b"", "altered": content}[damage])
    assert np.array_equal(double(np.arange(500.0)), expected) and len(calls) == 2
    assert np.array_equal(double(np.arange(500.0)), expected) and len(calls) == 2
