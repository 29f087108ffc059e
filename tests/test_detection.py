"""Overlap, suppression, average precision and RoIAlign against plain loops, scikit-learn and scipy; heads learn; bad input is named."""
import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import precision_recall_curve

from helpers import detection
from helpers.data import scenes
from helpers.detection import Found

NONE = Found(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))


def random_boxes(rng: np.random.Generator, count: int, side: int = 100) -> torch.Tensor:
    corner = rng.uniform(0, side - 20, (count, 2))
    return torch.tensor(np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], 1), dtype=torch.float32)


def covered(box: list[float], cells: int = 400) -> np.ndarray:
    """Which cells of a fine grid over 100 x 100 pixels lie in the box."""
    middle = (np.arange(cells) + 0.5) * 100 / cells
    across, down = (middle >= box[0]) & (middle < box[2]), (middle >= box[1]) & (middle < box[3])
    return down[:, None] & across


def test_iou_is_the_share_of_the_area():
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 4, 60), random_boxes(rng, 3, 60)
    masks = [[covered(box) for box in boxes.tolist()] for boxes in (first, second)]
    expected = [[(a & b).sum() / (a | b).sum() for b in masks[1]] for a in masks[0]]
    np.testing.assert_allclose(detection.iou(first, second), expected, atol=0.03)
    assert detection.iou(first, first).diagonal().allclose(torch.ones(4), atol=1e-5)
    corners = torch.tensor([[0.0, 0, 1, 1], [5.0, 5, 6, 6]])  # apart in both directions: minus times minus must not count
    assert detection.iou(corners, corners).equal(torch.eye(2))


def test_empty_boxes_overlap_with_nothing():
    point = torch.tensor([[3.0, 3, 3, 3]])
    assert detection.iou(point, torch.tensor([[0.0, 0, 9, 9]])).item() == 0 == detection.iou(point, point).item()
    assert detection.iou(torch.zeros(0, 4), point).shape == (0, 1)


@pytest.mark.parametrize("boxes, says", [
    (torch.zeros(4), "one box alone"), (torch.zeros(2, 3), "left, top"), (torch.tensor([[0.0, 0, float("nan"), 1]]), "NaN"),
    (torch.tensor([[5.0, 5, 2, 9]]), "not width and height"),
])  # fmt: skip
def test_unusable_boxes_are_named(boxes, says):
    for call in (lambda: detection.iou(boxes, boxes), lambda: detection.suppress(boxes, torch.ones(len(boxes)))):
        with pytest.raises(ValueError, match=says):
            call()


def test_boxes_outside_of_the_image_are_named_and_those_across_its_border_are_fine():
    for box in ([130.0, 3, 140, 9], [-9.0, 0, 0, 5]):
        with pytest.raises(ValueError, match="outside of the image"):
            detection.centre_targets([np.array([box], np.float32)], [np.array([1])])
    assert detection.check_boxes([[-5.0, 0, 10, 10]], 128).shape == (1, 4)


@pytest.mark.parametrize("seed", range(5))
def test_suppression_is_the_plain_loop(seed):
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, 30), torch.tensor(rng.permutation(30) / 30)
    kept = []
    for place in scores.argsort(descending=True).tolist():
        if all(detection.iou(boxes[[place]], boxes[[better]]) <= 0.3 for better in kept):
            kept.append(place)
    assert detection.suppress(boxes, scores, 0.3).tolist() == kept
    assert len(detection.suppress(torch.zeros(0, 4), torch.zeros(0))) == 0
    with pytest.raises(ValueError, match="one score for each"):
        detection.suppress(boxes, scores[:3])


def test_an_object_found_twice_is_one_hit():
    box = torch.tensor([[0.0, 0, 10, 10]])
    far = torch.tensor([[50.0, 50, 60, 60]])
    found = torch.cat([box, box + 1, far, far])
    assert detection.match(found, torch.tensor([0.1, 0.9, 0.5, 0.6]), torch.cat([box, far])).tolist() == [False, True, False, True]
    assert detection.match(box, torch.ones(1), torch.zeros(0, 4)).tolist() == [False]


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_the_area_under_the_envelope(seed):
    rng = np.random.default_rng(seed)
    scores, hits = rng.permutation(40) / 40, rng.random(40) < 0.4
    precision, recall, _ = precision_recall_curve(hits, scores)  # recall falls from 1 to 0
    envelope = np.maximum.accumulate(precision)
    area = float((-np.diff(recall) * envelope[:-1]).sum())
    assert detection.average_precision(scores, hits, int(hits.sum())) == pytest.approx(area)
    assert detection.average_precision(scores, hits, 2 * int(hits.sum())) == pytest.approx(area / 2)  # half of the objects unseen


def test_average_precision_by_hand_and_its_messages():
    assert detection.average_precision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], 3) == pytest.approx(5 / 9)
    assert detection.average_precision([], [], 2) == 0
    with pytest.raises(ValueError, match="no objects"):
        detection.average_precision([0.5], [False], 0)
    with pytest.raises(ValueError, match="one of each"):
        detection.average_precision([0.5], [True, False], 1)


def test_mean_average_precision_counts_false_alarms_on_empty_images():
    box = torch.tensor([[0.0, 0, 10, 10]])
    hit, alarm = Found(box, torch.tensor([0.8]), torch.tensor([3])), Found(box, torch.tensor([0.9]), torch.tensor([3]))
    boxes, labels = [box.numpy(), np.zeros((0, 4))], [np.array([3]), np.zeros(0)]
    assert detection.mean_average_precision([hit, NONE], boxes, labels) == 1
    assert detection.mean_average_precision([hit, alarm], boxes, labels) == 0.5
    other = hit._replace(labels=torch.tensor([4]))  # the right place, the wrong name
    assert detection.mean_average_precision([other, NONE], boxes, labels) == 0
    two = [box.numpy()] * 2, [np.array([3]), np.array([5])]
    assert detection.mean_average_precision([hit, NONE], *two) == 0.5  # a mean over the classes that occur
    with pytest.raises(ValueError, match="no object in any image"):
        detection.mean_average_precision([NONE], [np.zeros((0, 4))], [np.zeros(0)])
    with pytest.raises(ValueError, match="one for each image"):
        detection.mean_average_precision([hit], boxes, labels)


def perfect(targets: detection.Targets) -> torch.Tensor:
    classes = 20.0 * torch.nn.functional.one_hot(targets.labels, 10).permute(0, 3, 1, 2)
    return torch.cat([torch.logit(targets.heat, eps=1e-4)[:, None], targets.boxes.permute(0, 3, 1, 2), classes], 1)


def test_decoded_targets_are_the_truth():
    data = scenes.digit_scenes(20, 5, True)
    found = detection.decode(perfect(detection.centre_targets(data.boxes, data.labels)))
    assert detection.mean_average_precision(found, data.boxes, data.labels, 0.95) == pytest.approx(1)


def test_an_image_without_objects_is_learned_and_may_be_found_empty():
    targets = detection.centre_targets([np.zeros((0, 4))], [np.zeros(0, int)])
    assert targets.heat.max() == 0 and not targets.near.any()
    assert torch.isfinite(detection.centre_loss(torch.zeros(1, 15, 16, 16), targets))
    (found,) = detection.decode(torch.full((1, 15, 16, 16), -9.0))
    assert len(found.boxes) == 0
    assert detection.look_again(detection.RegionHead(), (torch.zeros(1, 40, 16, 16), torch.zeros(1, 112, 8, 8)), [found]) == [found]


def test_roi_align_reads_as_scipy_does():
    rng = np.random.default_rng(1)
    maps, boxes = torch.tensor(rng.normal(size=(3, 16, 16)), dtype=torch.float32), random_boxes(rng, 6, 128)
    read = detection.roi_align(maps, boxes)
    for box, found in zip(boxes.tolist(), read, strict=True):
        part = (np.arange(5) + 0.5) / 5
        y, x = (start + (end - start) * part for start, end in ((box[1], box[3]), (box[0], box[2])))
        at = np.meshgrid(y / 8 - 0.5, x / 8 - 0.5, indexing="ij")
        expected = [ndimage.map_coordinates(of_channel, at, order=1, mode="nearest") for of_channel in maps.numpy()]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert detection.roi_align(maps, torch.zeros(0, 4)).shape == (0, 3, 5, 5)


def planted(count: int, seed: int) -> tuple[detection.Maps, scenes.Scenes]:
    """Maps that show class and place of every object plainly, and the scenes that go with them."""
    data = scenes.digit_scenes(count, seed, True)
    targets, generator = detection.centre_targets(data.boxes, data.labels), torch.Generator().manual_seed(seed)
    fine = 0.1 * torch.randn(count, 40, 16, 16, generator=generator)
    fine[:, 0] += targets.heat
    fine[:, 1:5] += targets.boxes.permute(0, 3, 1, 2)
    fine[:, 5:15] += (torch.nn.functional.one_hot(targets.labels, 10) * targets.near[..., None]).permute(0, 3, 1, 2)
    return (fine, 0.1 * torch.randn(count, 112, 8, 8, generator=generator)), data


def test_both_detectors_learn_what_the_maps_show():
    (maps, data), (asked, other) = planted(60, 0), planted(20, 1)
    head, history = detection.train_centre_head(maps, data, steps=120)
    assert history.stopped_at == 120
    assert detection.mean_average_precision(detection.detect(head, asked), other.boxes, other.labels) > 0.5
    proposer, _ = detection.train_centre_head(maps, data, classes=0, steps=80)
    shown = [found.boxes for found in detection.detect(proposer, maps, 0.05)]
    second, _ = detection.train_region_head(maps, data, shown, steps=80)
    found = detection.look_again(second, asked, detection.detect(proposer, asked, 0.05))
    assert detection.mean_average_precision(found, other.boxes, other.labels) > 0.4


def test_windows_and_components():
    windows = detection.grid_boxes()
    assert (windows[:, 2:] > windows[:, :2]).all() and windows.min() >= 0 and windows.max() <= 128
    image = np.full((128, 128, 3), 200, np.uint8)
    assert len(detection.component_boxes(image)) == 0
    image[40:70, 30:50] = 20
    assert [30.0, 40.0, 50.0, 70.0] in detection.component_boxes(image).tolist()


def test_the_stored_comparison_is_complete():
    table = detection.comparison()
    assert table.groupby("arm").seed.nunique().min() >= 3 and table["mAP"].between(0, 1).all() and table.arm.nunique() == 9


def test_objects_of_a_hub_s_detector_are_named_boxed_and_sorted():
    import tiny_hub

    reader, model = tiny_hub.detector()
    photograph = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    found = detection.objects_in(photograph, reader, model, threshold=0)
    assert len(found) == 5 and {name for name, _, _ in found} <= {"N/A", "person", "cat", "cup"}
    sure = [probability for _, probability, _ in found]
    assert sure == sorted(sure, reverse=True) and all(0 <= value <= 1 for value in sure)
    assert detection.objects_in(photograph, reader, model, threshold=1.1) == []
    # The boxes are in pixels of the photograph.
    inputs = reader(images=photograph, return_tensors="pt")
    with torch.no_grad():
        relative = model(**inputs).pred_boxes[0]
    middles = torch.tensor([[(box[0] + box[2]) / 2 / 90, (box[1] + box[3]) / 2 / 60] for _, _, box in found])
    assert all(any(torch.allclose(middle, other[:2], atol=1e-3) for other in relative) for middle in middles)


def test_detector_maps_keep_the_places_of_the_patches():
    import tiny_hub

    _, model = tiny_hub.detector()
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[1, :8, 24:] = 255  # the upper right corner
    maps = detection.detector_maps(images, model, side=64)
    assert maps.shape == (2, 16, 4, 4)
    change = (maps[1] - maps[0]).square().sum(0)
    assert change.argmax() == 3, "row 0, column 3"
    with pytest.raises(ValueError, match="side is 50: choose a multiple of 16"):
        detection.detector_maps(images, model, side=50)
