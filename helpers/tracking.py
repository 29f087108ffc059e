"""Follow an object through a clip: matching of maps, rotated templates, optical flow; and what the features of a clip say of motion."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

ANGLES = tuple(range(-90, 91, 15))  # degrees
SCALES = (0.6, 0.8, 1.0, 1.25, 1.6)
INNER = 0.8  # the template covers this share of the object's width: its corners shall hold little background
FLOW_INNER = 0.6
STRIDE = 4  # pixels between two places of the maps that are searched
Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def check_clip(frames: np.ndarray) -> np.ndarray:
    """The frames (t, h, w, 3) uint8 themselves. Raises ValueError when there is none, or they are of another kind."""
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames have shape {frames.shape} and dtype {frames.dtype}: pass (t, h, w, 3) of uint8")
    if not len(frames):
        raise ValueError("the clip has no frames: pass 1 or more")
    return frames


def colour_maps(frames: np.ndarray, stride: int = STRIDE) -> torch.Tensor:
    """The colours as maps (t, 3, h/stride, w/stride): means over squares of pixels. frames: (t, h, w, 3) uint8."""
    return F.avg_pool2d(torch.from_numpy(check_clip(frames).copy()).permute(0, 3, 1, 2).float(), stride)


def standard_maps(maps: torch.Tensor | np.ndarray, stride: int) -> torch.Tensor:
    """Maps (t, c, h, w) of a clip, of any `stride`, made ready to be searched: at `STRIDE`, each channel with mean 0 and deviation 1.

    The mean and deviation are those of the first frame: a tracker does not know the future. A channel that is constant there stays
    small, it is not blown up.
    """
    maps = torch.as_tensor(maps)
    if stride != STRIDE:
        maps = F.interpolate(maps, scale_factor=stride / STRIDE, mode="bilinear", align_corners=False)
    first = maps[:1]
    return (maps - first.mean((2, 3), keepdim=True)) / (first.std((2, 3), keepdim=True) + 1e-3)


def place_of(centre: Sequence[float], stride: int) -> tuple[int, int]:
    """(row, column) of the map's place whose middle is nearest to `centre`, x and y in pixels."""
    return round(float(centre[1]) / stride - 0.5), round(float(centre[0]) / stride - 0.5)


def cut_template(maps: torch.Tensor, centre: Sequence[float], size: float, stride: int = STRIDE) -> torch.Tensor:
    """The piece (c, k, k) of one frame's maps (c, h, w) around `centre`, x and y in pixels; k is odd, about 0.8 size / stride.

    Near the border the piece is moved inwards. Raises ValueError when the centre lies outside of the frame, or the object is larger
    than the frame.
    """
    height, width = maps.shape[-2:]
    if not (0 <= centre[0] <= width * stride and 0 <= centre[1] <= height * stride):
        raise ValueError(f"the centre {tuple(centre)} lies outside of a frame of {width * stride} x {height * stride} pixels")
    side = max(3, round(INNER * size / stride))
    side += 1 - side % 2
    if side > min(height, width):
        raise ValueError(f"an object of {size} pixels does not fit in a frame of {width * stride} x {height * stride}: pass its width")
    reach = side // 2
    row, column = (int(np.clip(p, reach, n - reach - 1)) for p, n in zip(place_of(centre, stride), (height, width), strict=True))
    return maps[:, row - reach : row + reach + 1, column - reach : column + reach + 1]


def cosine(maps: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
    """(t, c, h, w) and (c, k, k) -> (t, h-k+1, w-k+1): the mean over the template's places of the cosine of the two feature vectors.

    1 where every vector points the same way. (The cross-correlation of Bertinetto et al. 2016, arXiv:1606.09549, on unit vectors.)
    """
    places = template.shape[1] * template.shape[2]
    return F.conv2d(F.normalize(maps, dim=1), F.normalize(template, dim=0)[None])[:, 0] / places


def zero_mean(maps: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
    """Zero-mean normalised cross-correlation (t, h-k+1, w-k+1), in -1 … 1: deaf to a factor on the light and to a constant added to it.

    maps: (t, c, h, w). template: (c, k, k) or (n, c, k, k); of several templates the best score counts. The means are taken for each
    channel over the window, as in `skimage.feature.match_template`. (Lewis 1995, "Fast normalized cross-correlation".)
    """
    several = template if template.ndim == 4 else template[None]
    maps = maps - maps.mean((0, 2, 3), keepdim=True)  # changes no score, and keeps the squares small
    several = several - several.mean((2, 3), keepdim=True)
    area = several.shape[2] * several.shape[3]
    mean, square = window_mean(maps, several.shape[2:]), window_mean(maps**2, several.shape[2:])
    power = area * (square - mean**2).clamp(min=0).sum(1, keepdim=True)
    norms = several.flatten(1).norm(dim=1).view(1, -1, 1, 1)
    scores = F.conv2d(maps, several) / (power.sqrt() * norms).clamp(min=1e-6)
    return scores.amax(1)


def window_mean(maps: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    """(t, c, h-k+1, w-l+1): the mean over each window of k rows and l columns; first down, then across, which saves most additions."""
    down = F.avg_pool2d(maps, (window[0], 1), stride=1)
    return F.avg_pool2d(down, (1, window[1]), stride=1)


def peak(scores: torch.Tensor, side: int, stride: int = STRIDE) -> np.ndarray:
    """(t, 2) x and y in pixels of the middle of the best window of each frame. scores: (t, h, w) of a template with `side` places."""
    best = scores.flatten(1).argmax(1).numpy()
    rows, columns = np.divmod(best, scores.shape[2])
    return (np.stack([columns, rows], 1) + side // 2 + 0.5) * stride


def track(
    maps: torch.Tensor, centre: Sequence[float], size: float, stride: int = STRIDE, score: Score = cosine, window: float | None = None,
    update: float = 0.0,
) -> np.ndarray:
    """The path (t, 2), x and y in pixels, of the object that is at `centre` in the first frame; the first row is that place.

    maps: (t, c, h, w), see `standard_maps`. window: search only this far (pixels) from the last place; None searches the whole frame.
    update: after each frame the template moves this far towards what was found, from 0 (never) to 1 (always the latest). Raises
    ValueError as `cut_template`, and for an update outside of 0-1 or a window of 0 or less.
    """
    if not 0 <= update <= 1:
        raise ValueError(f"update is {update}: choose 0 (keep the first template) to 1 (always the latest)")
    if window is not None and window <= 0:
        raise ValueError(f"window is {window}: give the distance in pixels that an object may move between two frames, or None")
    template = cut_template(maps[0], centre, size, stride)
    side = template.shape[-1]
    if window is None and not update:
        path = peak(score(maps, template), side, stride)
        path[0] = centre
        return path
    path = [np.array(centre, float)]
    for frame in maps[1:]:
        scores = score(frame[None], template)
        if window is not None:
            scores = torch.where(near(scores.shape[1:], path[-1], window, side, stride), scores, -torch.inf)
        path.append(peak(scores, side, stride)[0])
        if update:
            template = (1 - update) * template + update * cut_template(frame, path[-1], size, stride)
    return np.array(path)


def near(shape: Sequence[int], last: Sequence[float], window: float, side: int, stride: int = STRIDE) -> torch.Tensor:
    """(h, w) bool: the scores whose place is at most `window` pixels from `last`; the nearest place is always among them."""
    rows, columns = ((torch.arange(n) + side // 2 + 0.5) * stride for n in shape)
    distance = torch.hypot(columns[None] - float(last[0]), rows[:, None] - float(last[1]))
    return distance <= max(window, float(distance.min()))


def turned_templates(
    frame: np.ndarray, centre: Sequence[float], size: float, stride: int, angles: Sequence[float], scale: float
) -> torch.Tensor:
    """(angles, 3, k, k): the colours around `centre`, x and y in pixels, turned by each angle (degrees) and enlarged by `scale`."""
    from skimage.transform import warp

    side = max(3, round(INNER * size * scale / stride))
    side += 1 - side % 2
    pixels = side * stride
    down, across = (np.mgrid[:pixels, :pixels] + 0.5 - pixels / 2) / scale
    templates = []
    for angle in np.radians(angles):
        rows = np.sin(angle) * across + np.cos(angle) * down + centre[1] - 0.5
        columns = np.cos(angle) * across - np.sin(angle) * down + centre[0] - 0.5
        channels = [warp(frame[..., c].astype(float), np.stack([rows, columns]), mode="edge") for c in range(3)]
        templates.append(torch.from_numpy(np.stack(channels)).float())
    return F.avg_pool2d(torch.stack(templates), stride)


def search_templates(
    frames: np.ndarray, centre: Sequence[float], size: float, angles: Sequence[float] = ANGLES, scales: Sequence[float] = SCALES,
    stride: int = STRIDE,
) -> np.ndarray:
    """The path (t, 2) of the best match among templates of the first frame in every angle and scale: the classical answer to turning
    and growing objects. frames: (t, h, w, 3) uint8. centre, size: in pixels, in the first frame."""
    maps = colour_maps(frames, stride)
    cut_template(maps[0], centre, size, stride)  # complain about the arguments
    best, path = np.full(len(maps), -np.inf), np.zeros((len(maps), 2))
    for scale in scales:
        templates = turned_templates(frames[0], centre, size, stride, angles, scale)
        scores = zero_mean(maps, templates)
        highest = scores.flatten(1).amax(1).numpy()
        places = peak(scores, templates.shape[-1], stride)
        path[highest > best] = places[highest > best]
        best = np.maximum(best, highest)
    path[0] = centre
    return path


def lucas_kanade(
    first: np.ndarray, second: np.ndarray, centre: Sequence[float], size: float, moved: Sequence[float] = (0, 0), iterations: int = 8
) -> np.ndarray:
    """How far (x, y) the square patch of `first` around `centre` has moved in `second`, in pixels; both (h, w) grey and smooth.

    moved: a first guess. Repeats: sample `second` where the patch is thought to be, and solve the least squares problem gradient · step
    = difference. (Lucas & Kanade 1981, "An iterative image registration technique".) A patch without any texture does not move.
    """
    from scipy.ndimage import map_coordinates

    reach = np.arange(round(size)) - (round(size) - 1) / 2
    down, across = np.meshgrid(reach + centre[1] - 0.5, reach + centre[0] - 0.5, indexing="ij")
    old, slope_down, slope_across = (
        map_coordinates(image, [down, across], order=1, mode="nearest") for image in (first, *np.gradient(first))
    )
    slopes = np.stack([slope_across.ravel(), slope_down.ravel()], 1)
    matrix = slopes.T @ slopes + 1e-3 * np.eye(2)
    moved = np.array(moved, float)
    for _ in range(iterations):
        new = map_coordinates(second, [down + moved[1], across + moved[0]], order=1, mode="nearest")
        moved += np.linalg.solve(matrix, slopes.T @ (old - new).ravel())
    return moved


def follow_flow(frames: np.ndarray, centre: Sequence[float], size: float, levels: int = 2) -> np.ndarray:
    """The path (t, 2) by optical flow: where `lucas_kanade` says that the patch has gone, from each frame to the next.

    frames: (t, h, w, 3) uint8. centre, size: in pixels, in the first frame. levels: of the pyramid, each one halves the picture: the
    coarsest finds most of a large step, the finest makes it exact. A path that leaves the frame stays at its border.
    """
    from scipy.ndimage import gaussian_filter

    grey = check_clip(frames).mean(3)
    cut_template(torch.from_numpy(grey[:1]), centre, size, 1)  # complain about the arguments
    limit = np.array(grey.shape[:0:-1], float)
    pyramids = [[gaussian_filter(g, 1.5 * 2**level)[:: 2**level, :: 2**level] for level in range(levels)] for g in grey]
    path = [np.array(centre, float)]
    for before, after in zip(pyramids, pyramids[1:], strict=False):
        moved = np.zeros(2)
        for level in reversed(range(levels)):
            factor = 2**level
            patch = max(5, FLOW_INNER * size / factor)
            moved = factor * lucas_kanade(before[level], after[level], path[-1] / factor, patch, moved / factor)
        path.append(np.clip(path[-1] + moved, 0, limit))
    return np.array(path)


def late_hits(path: np.ndarray, centres: np.ndarray, size: float) -> float:
    """The share of the last third of the frames in which the path is within a third of the object's first width of its middle.

    Raises ValueError when the two differ in length, or are empty.
    """
    if len(path) != len(centres) or not len(path):
        raise ValueError(f"the path has {len(path)} places for {len(centres)} frames: pass as many, and one or more")
    last = -max(1, len(path) // 3)
    return float((np.linalg.norm(path[last:] - centres[last:], axis=1) <= size / 3).mean())


def check_clip_maps(maps: np.ndarray, fewest: int = 1) -> np.ndarray:
    """The maps (n, t, c, h, w) of n clips themselves. Raises ValueError for another shape, or fewer frames than needed."""
    if maps.ndim != 5:
        raise ValueError(f"maps have shape {maps.shape}: pass (clips, frames, channels, height, width)")
    if maps.shape[1] < fewest:
        raise ValueError(f"the clips have {maps.shape[1]} frame(s): motion needs {fewest} or more")
    return maps


def change(maps: np.ndarray) -> np.ndarray:
    """How much each place of each frame differs from the clip's mean there: (n, t, c, h, w) -> (n, t, h, w), the root mean square
    over the channels. Where nothing moves it is the noise."""
    maps = check_clip_maps(maps)
    return np.sqrt(((maps - maps.mean(1, keepdims=True)) ** 2).mean(2))


def pool_all(maps: np.ndarray) -> np.ndarray:
    """The mean over all frames and places of each clip: (n, t, c, h, w) -> (n, c). The order of the frames does not matter."""
    return check_clip_maps(maps).mean((1, 3, 4))


def pool_what_moves(maps: np.ndarray) -> np.ndarray:
    """The mean over all frames and places, weighted by `change`: (n, t, c, h, w) -> (n, c). Without any change it is `pool_all`."""
    weights = change(maps)
    total = weights.sum((1, 2, 3), keepdims=True)
    weights = np.where(total > 1e-9, weights / np.maximum(total, 1e-9), 1 / weights[0].size)
    return (maps * weights[:, :, None]).sum((1, 3, 4))


def path_of_change(maps: np.ndarray) -> np.ndarray:
    """How fast, and where to, the centre of `change` moves: (n, t, c, h, w) -> (n, 2), x and y in places a frame.

    The slope of a least squares line through the centres. Raises ValueError for clips of one frame.
    """
    weights = change(check_clip_maps(maps, fewest=2))
    weights = weights / np.maximum(weights.sum((2, 3), keepdims=True), 1e-9)
    across = (weights.sum(2) * np.arange(weights.shape[3])).sum(-1)
    down = (weights.sum(3) * np.arange(weights.shape[2])).sum(-1)
    time = np.arange(weights.shape[1]) - (weights.shape[1] - 1) / 2
    return np.stack([across @ time, down @ time], 1) / (time @ time)


def mean_flow(clips: np.ndarray) -> np.ndarray:
    """(n, 2): the flow, x and y in pixels a frame, in the fastest fifth of each clip's picture. clips: (n, t, h, w, 3) uint8.

    Dense Lucas-Kanade flow of scikit-image at half the resolution. Raises ValueError for clips of one frame.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.registration import optical_flow_ilk

    check_clip_maps(clips, fewest=2)
    rows = []
    for frames in clips:
        grey = [gaussian_filter(frame.mean(2), 1.5)[::2, ::2] / 255 for frame in frames]
        flow = np.stack([optical_flow_ilk(*pair, radius=5, num_warp=3) for pair in zip(grey, grey[1:], strict=False)])
        speed = np.hypot(flow[:, 0], flow[:, 1])
        fast = speed >= np.quantile(speed, 0.8)
        rows.append([2 * flow[:, 1][fast].mean(), 2 * flow[:, 0][fast].mean()])
    return np.array(rows)
