"""Sound as an image: log-mel spectrograms, pooling over frequency and time, and what a frozen vision net is compared with."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import torch
    from torch import nn

    from helpers.data.augment import Augment

RATE = 8000  # samples a second, as on the telephone
WINDOW = 256  # samples: 32 ms, long enough for a pitch, short enough for a consonant
HOP = 80  # samples: 10 ms from one frame to the next
FFT = 512  # the window is filled up with zeros, so that the lowest bands have a bin of their own
BANDS = 64
LOWEST = 80.0  # Hz
RANGE = 12.0  # nats (52 dB) below the loudest point: what is softer counts as silence
SIDE = 64  # pixels of the image of a word


def hertz_to_mel(hertz: np.ndarray | float) -> np.ndarray | float:
    """The mel scale, on which equal steps sound equally large: 2595 log10(1 + hertz / 700) (O'Shaughnessy 1987)."""
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def mel_to_hertz(mel: np.ndarray | float) -> np.ndarray | float:
    """The inverse of `hertz_to_mel`."""
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


def check_wave(wave: np.ndarray, rate: int = RATE) -> np.ndarray:
    """The recording as float64 (n,). Raises ValueError when it is not one channel, too short, silent, or holds NaN."""
    wave = np.asarray(wave)
    if wave.ndim != 1:
        raise ValueError(f"the recording has shape {wave.shape}: pass one channel (n,); of a stereo recording (n, 2) take .mean(1)")
    if not np.issubdtype(wave.dtype, np.number) or np.iscomplexobj(wave):
        raise ValueError(f"the recording has dtype {wave.dtype}: pass real numbers")
    wave = wave.astype(np.float64)
    if len(wave) < WINDOW:
        raise ValueError(f"the recording has {len(wave)} samples ({1000 * len(wave) / rate:.0f} ms): {WINDOW} or more are needed")
    if not np.isfinite(wave).all():
        raise ValueError(f"{(~np.isfinite(wave)).sum()} samples are NaN or infinite: mend or drop this recording first")
    if not np.ptp(wave):
        raise ValueError("the recording is silent, all its samples are equal: was the microphone on?")
    return wave


def power_spectrogram(wave: np.ndarray) -> np.ndarray:
    """(FFT / 2 + 1, frames): the power at each frequency, a frame of `WINDOW` samples every `HOP` samples. Raises as `check_wave`.

    Each frame is multiplied by a Hann window, which fades in and out: a hard cut would smear every tone over all frequencies.
    """
    wave = check_wave(wave)
    frames = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]  # (frames, window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return np.abs(np.fft.rfft(frames * hann, FFT)).T ** 2


def mel_filters(bands: int = BANDS, rate: int = RATE) -> np.ndarray:
    """(bands, FFT / 2 + 1): row b is a triangle over frequency; neighbours overlap by half, equally wide in mel.

    Raises ValueError when there are so many bands that one of them would contain no frequency at all.
    """
    edges = mel_to_hertz(np.linspace(hertz_to_mel(LOWEST), hertz_to_mel(rate / 2), bands + 2))
    frequencies = np.fft.rfftfreq(FFT, 1 / rate)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    if (filters.sum(1) == 0).any():
        raise ValueError(f"{bands} bands are too many for {FFT // 2 + 1} frequencies: some would be empty, choose fewer")
    return filters


def log_mel(wave: np.ndarray, rate: int = RATE, bands: int = BANDS) -> np.ndarray:
    """(bands, frames) in 0 to 1: the logarithm of the power in each mel band, 1 at the loudest point, 0 where it is `RANGE` nats softer.

    Relative to the loudest point, so that the volume of the recording does not matter. Band 0 is the lowest. Raises as `check_wave`.
    """
    power = mel_filters(bands, rate) @ power_spectrogram(wave)
    logarithm = np.log(power / power.max() + 1e-10)
    return np.clip(logarithm / RANGE + 1, 0, 1)


def trim(wave: np.ndarray, threshold: float = 0.02) -> np.ndarray:
    """The recording from the first to the last sample louder than `threshold` times its peak (never shorter than a window)."""
    wave = check_wave(wave)
    loud = np.flatnonzero(np.abs(wave) > threshold * np.abs(wave).max())
    first, last = loud[0], loud[-1] + 1
    missing = max(0, WINDOW - (last - first))
    first = max(0, min(first - missing // 2, len(wave) - WINDOW))
    return wave[first : max(last, first + WINDOW)]


def word_image(wave: np.ndarray, rate: int = RATE, side: int = SIDE) -> np.ndarray:
    """(side, side) uint8: the trimmed word as a picture, time from left to right, high frequencies at the top, bright is loud.

    Every word is stretched to the same width, so its speed does not matter. Raises as `check_wave`.
    """
    from PIL import Image

    picture = Image.fromarray((log_mel(trim(check_wave(wave, rate)), rate)[::-1] * 255).round().astype(np.uint8))
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def read_wav(path: str | Path) -> tuple[np.ndarray, int]:
    """(samples (n,) float64 in -1 to 1, samples a second) of a WAV file with 16 bits and one channel or several, which are averaged.

    Raises ValueError when it is no such file.
    """
    import wave
    from pathlib import Path

    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate, count = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
            content = file.readframes(count)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{Path(path).name} cannot be read as WAV ({error or 'it ends too early'}): store it as WAV, 16 bits") from None
    if width != 2:
        raise ValueError(f"{Path(path).name} has {8 * width} bits a sample: store it as WAV, 16 bits")
    return np.frombuffer(content, "<i2").reshape(-1, channels).mean(1) / 32768, rate


def resample(wave: np.ndarray, rate: int, wanted: int = RATE) -> np.ndarray:
    """The recording at `wanted` samples a second (low-pass filtered before samples are left out)."""
    from math import gcd

    from scipy.signal import resample_poly

    shared = gcd(rate, wanted)
    return resample_poly(check_wave(wave, rate), wanted // shared, rate // shared)


def pool(maps: np.ndarray, frequency: int, time: int) -> np.ndarray:
    """Maps (n, channels, height, width) -> (n, channels * frequency * time): means over a grid of `frequency` rows and `time` columns.

    (1, 1) is the usual mean over all places, which forgets the order of the sounds. Where the map's side is no multiple of the grid's,
    neighbouring cells overlap (PyTorch's adaptive pooling). Raises ValueError when the grid is finer than the map, or the map no map.
    """
    import torch
    import torch.nn.functional as F

    maps = np.asarray(maps)
    if maps.ndim != 4:
        raise ValueError(f"maps have shape {maps.shape}: pass (n, channels, height, width)")
    if not 1 <= frequency <= maps.shape[2] or not 1 <= time <= maps.shape[3]:
        raise ValueError(f"a grid of {frequency} x {time} does not fit maps of {maps.shape[2]} x {maps.shape[3]} places")
    return F.adaptive_avg_pool2d(torch.from_numpy(maps), (frequency, time)).flatten(1).numpy()


def cepstra(images: np.ndarray, count: int = 13) -> np.ndarray:
    """(n, count, frames) float64 of word images (n, bands, frames): the mel cepstrum without its level, for each frame.

    The cosine transform of each column, of which the slow waves are kept: the shape of the mouth, without the pitch
    (Davis & Mermelstein 1980, doi:10.1109/TASSP.1980.1163420). Raises ValueError for images of another shape.
    """
    from scipy.fft import dct

    images = np.asarray(images, float)
    if images.ndim != 3:
        raise ValueError(f"images have shape {images.shape}: pass (n, bands, frames)")
    return dct(images[:, ::-1] / 255, axis=1, norm="ortho")[:, 1 : count + 1]


def dtw_distances(first: np.ndarray, second: np.ndarray, band: int = 8) -> np.ndarray:
    """(n, m): the dynamic-time-warping distance of each of the sequences (n, d, frames) to each of (m, d, frames).

    The cheapest way to walk through both sequences from start to end, in steps of one frame in one of them or both, the price of a pair
    of frames being their Euclidean distance (Sakoe & Chiba 1978, doi:10.1109/TASSP.1978.1163055). band: by how many frames the
    two may run apart. Raises ValueError when the shapes do not fit.
    """
    if first.ndim != 3 or first.shape[1:] != second.shape[1:]:
        raise ValueError(f"shapes are {first.shape} and {second.shape}: pass (n, d, frames) and (m, d, frames)")
    frames = first.shape[2]
    price = np.full((frames, frames, len(first), len(second)), np.inf)
    squares = (first**2).sum(1), (second**2).sum(1)
    for i in range(frames):
        for j in range(max(0, i - band), min(frames, i + band + 1)):
            apart = squares[0][:, None, i] + squares[1][None, :, j] - 2 * first[:, :, i] @ second[:, :, j].T
            price[i, j] = np.sqrt(np.maximum(apart, 0))
    total = np.full((frames + 1, frames + 1, len(first), len(second)), np.inf)
    total[0, 0] = 0
    for i in range(frames):
        for j in range(max(0, i - band), min(frames, i + band + 1)):
            total[i + 1, j + 1] = price[i, j] + np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
    return total[-1, -1]


def mask_and_move(bands: int = 4, frames: int = 4) -> Augment:
    """A function (images (n, 1, h, w) in 0-1, generator) -> images, each moved and stretched a little, and with one stripe of up to
    `bands` rows and one of up to `frames` columns set to 0 (SpecAugment, Park et al. 2019, arXiv:1904.08779).

    A spectrogram is never turned or sheared: its two axes are different things.
    """
    import torch

    from helpers.data.augment import jitter

    move = jitter(rotation=0, shear=0, scale=0.08, shift=0.08, brightness=0.15, noise=0)

    def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        images = move(images, generator)
        for axis, widest in ((2, bands), (3, frames)):
            size = images.shape[axis]
            width = torch.randint(0, widest + 1, (len(images), 1), generator=generator)
            start = (torch.rand(len(images), 1, generator=generator) * (size - width)).long()
            places = torch.arange(size)[None]
            kept = ((places < start) | (places >= start + width)).to(images)
            images = images * (kept[:, None, :, None] if axis == 2 else kept[:, None, None, :])
        return images

    return augment


def word_net(classes: int = 10, columns: int = 4, width: int = 16) -> nn.Module:
    """A small net for halved word images (n, 1, 32, 32), to be trained from scratch: three convolutions, then 2 x `columns` places."""
    from torch import nn

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    layers = [*block(1, width), *block(width, 2 * width), *block(2 * width, 4 * width)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d((2, columns)), nn.Flatten(), nn.Linear(8 * columns * width, classes))


# What the lesson compares. Everything but the digits' labels is the same for all.
ARMS = (
    "frozen, block 10, 2 x 4 places", "frozen, last layer, mean", "random net, block 4, 2 x 4 places", "raw spectrogram",
    "dynamic time warping", "small net from scratch",
)  # fmt: skip
STRENGTH = 0.01  # of the probes on pooled maps: scikit-learn's C
SCRATCH_STEPS, SCRATCH_RATE = 300, 3e-3  # tuned on other splits of the voices


def halved(images: np.ndarray) -> np.ndarray:
    """(n, h / 2, w / 2) float32 in 0 to 1: means of 2 x 2 pixels: about as good for the raw spectrogram, and quicker."""
    images = np.asarray(images)
    return images.reshape(len(images), images.shape[1] // 2, 2, images.shape[2] // 2, 2).mean((2, 4)).astype(np.float32) / 255


def describe(images: np.ndarray, arm: str) -> np.ndarray:
    """(n, d) the vectors of a probe's arm for word images (n, 64, 64) uint8. Raises ValueError for another arm."""
    from helpers import features

    if arm == "raw spectrogram":
        return halved(images).reshape(len(images), -1)
    if arm == "random net, block 4, 2 x 4 places":
        return pool(features.extract_pyramid(images, ("block 4", "block 10"), None, random_seed=0)[0], 2, 4)
    if arm not in ARMS[:2]:
        raise ValueError(f"no probe called {arm!r}: choose one of {', '.join(ARMS[:4])}")
    layers = ("block 4", "block 7", "block 10", "block 13", "head")
    maps = dict(zip(layers, features.extract_pyramid(images, layers, None), strict=True))
    return pool(maps["head"], 1, 1) if arm == ARMS[1] else pool(maps["block 10"], 2, 4)


def train_word_net(images: np.ndarray, labels: np.ndarray, seed: int, start: nn.Module | None = None) -> nn.Module:
    """A small net trained on word images, from scratch or, at a third of the rate and the steps, from the weights of `start`."""
    import copy

    import torch

    from helpers import training
    from helpers.data.images import to_tensor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = word_net() if start is None else copy.deepcopy(start)
    share = 1 if start is None else 3
    training.fit(net, to_tensor(halved(images)), labels, steps=SCRATCH_STEPS // share, learning_rate=SCRATCH_RATE / share,
                 augment=mask_and_move(), seed=seed)  # fmt: skip
    return net


def recognise(
    arm: str, images: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int = 0,
    vectors: np.ndarray | None = None,
) -> float:  # fmt: skip
    """The accuracy of one of `ARMS` on the words `test`, after training on the words `train` (indices).

    vectors: of a probe's arm, what `describe` gave for all images, so that it is not read again for each split (None: call it).
    Raises ValueError for another arm, or when a word is on both sides.
    """
    from helpers import features, training
    from helpers.data.images import to_tensor

    if arm not in ARMS:
        raise ValueError(f"no arm called {arm!r}: choose one of {', '.join(ARMS)}")
    if len(np.intersect1d(train, test)):
        raise ValueError(f"{len(np.intersect1d(train, test))} words are both trained and tested on: keep them apart")
    if arm == "small net from scratch":
        return training.accuracy(train_word_net(images[train], labels[train], seed), to_tensor(halved(images[test])), labels[test])
    if arm == "dynamic time warping":
        frames = cepstra(images)[:, :, ::2]  # every second frame: as accurate, four times faster
        nearest = dtw_distances(frames[test], frames[train], band=4).argmin(1)
        return float((labels[train][nearest] == labels[test]).mean())
    vectors = describe(images, arm) if vectors is None else vectors
    strength = 0.1 if arm == "raw spectrogram" else STRENGTH
    return features.linear_probe(vectors[train], labels[train], strength).score(vectors[test], labels[test])


def speech_features(waves: list[np.ndarray], model: nn.Module, rate: int = RATE, pieces: int = 4) -> np.ndarray:
    """(n, pieces * d): the states of Whisper's encoder for each recording, averaged over `pieces` equal parts of it.

    model: with an encoder of Whisper's kind (Radford et al. 2022, arXiv:2212.04356). Its contract: 16,000 samples a second, 80 mel
    bands, filled up with silence to 30 seconds, of which only the word's own states count. Raises as `check_wave`.
    """
    import torch
    from transformers import WhisperFeatureExtractor

    prepare, encoder, found = WhisperFeatureExtractor(), model.get_encoder(), []
    device = next(model.parameters()).device
    for wave in waves:
        wave = resample(trim(wave), rate, prepare.sampling_rate)
        inputs = prepare(wave, sampling_rate=prepare.sampling_rate, return_tensors="pt").input_features
        with torch.inference_mode():
            states = encoder(inputs.to(device)).last_hidden_state[0]
        own = max(pieces, round(len(states) * len(wave) / prepare.n_samples))
        found.append(torch.cat([part.mean(0) for part in states[:own].tensor_split(pieces)]).cpu().numpy())
    return np.stack(found)


def real_digits() -> pd.DataFrame:
    """What data_scripts/measure_real_digits.py measured on real recordings: columns trained on, arm, seed, accuracy.

    seed: the person, 0 to 5, who is the first training speaker and never a test speaker.
    """
    from pathlib import Path

    import pandas as pd

    from helpers import experiment

    rows = [
        {"trained on": row["trained on"], "arm": row["arm"], "seed": seed, "accuracy": accuracy}
        for row in experiment.stored_rows(Path(__file__).with_suffix(".json")).to_dict("records")
        for seed, accuracy in enumerate(row["accuracies"])
    ]
    return pd.DataFrame(rows)
