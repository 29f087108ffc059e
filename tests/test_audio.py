"""Sound as an image: spectrograms against scipy's, pooling against PyTorch's means, warping against a hand-written table, bad input."""
import wave as wave_files

import numpy as np
import pytest
import scipy.signal
import torch

from helpers import audio, training
from helpers.data import spoken_digits


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples)


def tone(hertz: float, samples: int = 4000) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / audio.RATE)


def test_the_power_spectrogram_is_scipys():
    wave = noise(1500)
    hann = scipy.signal.get_window("hann", audio.WINDOW, fftbins=True)
    starts = range(0, len(wave) - audio.WINDOW + 1, audio.HOP)
    expected = np.stack([
        scipy.signal.periodogram(wave[start : start + audio.WINDOW], window=hann, nfft=audio.FFT, detrend=False)[1] for start in starts
    ]).T
    found = audio.power_spectrogram(wave)
    assert found.shape == (audio.FFT // 2 + 1, len(starts))
    ratio = found[1:-1] / expected[1:-1]  # a periodogram is scaled by a constant, and its ends are halved
    assert np.allclose(ratio, ratio[0, 0])


def test_mel_bands_overlap_by_half_and_the_scale_has_an_inverse():
    hertz = np.array([80, 440, 1000, 4000])
    assert np.allclose(audio.mel_to_hertz(audio.hertz_to_mel(hertz)), hertz)
    assert audio.hertz_to_mel(1000) == pytest.approx(1000, abs=1)  # how the scale is fixed
    filters = audio.mel_filters()
    assert filters.shape == (64, 257) and (filters >= 0).all() and filters.max() <= 1
    inside = (np.fft.rfftfreq(audio.FFT, 1 / audio.RATE) > 120) & (np.fft.rfftfreq(audio.FFT, 1 / audio.RATE) < 3850)
    assert np.allclose(filters.sum(0)[inside], 1)  # two neighbours share every frequency
    with pytest.raises(ValueError, match="300 bands are too many"):
        audio.mel_filters(300)


def test_a_tone_lights_its_band_and_the_volume_does_not_matter():
    centres = audio.mel_to_hertz(np.linspace(audio.hertz_to_mel(80), audio.hertz_to_mel(4000), 66))[1:-1]
    for hertz in (300, 1000, 3000):
        loudest = audio.log_mel(tone(hertz)).argmax(0)
        assert (np.abs(loudest - np.abs(centres - hertz).argmin()) <= 1).all()
    assert np.allclose(audio.log_mel(tone(500)), audio.log_mel(0.01 * tone(500)))
    values = audio.log_mel(noise(4000))
    assert values.min() >= 0 and values.max() == 1
    assert np.array_equal(audio.log_mel((tone(500) * 20000).astype(np.int16)), audio.log_mel((tone(500) * 20000).astype(np.int16) / 2))


def test_a_word_image_has_no_silence_and_high_tones_at_the_top():
    word = np.concatenate([tone(200, 2000), tone(3000, 2000)])
    padded = np.concatenate([np.zeros(3000), word, np.zeros(1000)])
    assert np.array_equal(audio.trim(padded), padded[3001:-1000])  # a sine begins with 0
    image = audio.word_image(padded)
    assert image.shape == (64, 64) and image.dtype == np.uint8
    assert image[:, 10].argmax() > 48 > 20 > image[:, 50].argmax()
    assert audio.log_mel(tone(500, audio.WINDOW)).shape == (64, 1)  # one frame is the least
    assert audio.word_image(tone(500, audio.WINDOW)).shape == (64, 64)
    click = np.zeros(900)
    click[5] = 1
    assert len(audio.trim(click)) == audio.WINDOW and len(audio.trim(click[::-1])) == audio.WINDOW


@pytest.mark.parametrize("wave, sentence", [
    (np.zeros(4000), "the recording is silent"),
    (np.full(4000, 0.3), "the recording is silent"),
    (noise(200), r"has 200 samples \(25 ms\): 256 or more"),
    (noise(0), "has 0 samples"),
    (noise(800).reshape(-1, 2), r"shape \(400, 2\): pass one channel"),
    (np.where(np.arange(500) == 7, np.nan, 1.0), "1 samples are NaN"),
    (np.array(["a"] * 500), "pass real numbers"),
])  # fmt: skip
def test_unusable_recordings_are_refused(wave, sentence):
    for use in (audio.check_wave, audio.power_spectrogram, audio.log_mel, audio.trim, audio.word_image):
        with pytest.raises(ValueError, match=sentence):
            use(wave)


def write(path, samples: np.ndarray, channels: int = 1, width: int = 2):
    with wave_files.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(22050)
        file.writeframes(samples.tobytes())
    return path


def test_wav_files_are_read_averaged_and_resampled(tmp_path):
    samples = np.array([[100, 300], [-200, 0]] * 500, np.int16)
    found, rate = audio.read_wav(write(tmp_path / "two.wav", samples, channels=2))
    assert rate == 22050 and np.allclose(found[:2], [200 / 32768, -100 / 32768]) and len(found) == 1000
    slow = audio.resample(tone(500, 8000), 8000, 16000)
    assert len(slow) == 16000
    assert np.abs(np.fft.rfft(slow)).argmax() == 500
    with pytest.raises(ValueError, match=r"eight.wav has 8 bits a sample: store it as WAV, 16 bits"):
        audio.read_wav(write(tmp_path / "eight.wav", np.zeros(50, np.uint8), width=1))
    (tmp_path / "no.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match="no.wav cannot be read as WAV"):
        audio.read_wav(tmp_path / "no.wav")


def test_pooling_keeps_what_its_grid_keeps():
    maps = np.random.default_rng(0).random((2, 3, 4, 8)).astype(np.float32)
    assert np.allclose(audio.pool(maps, 1, 1), maps.mean((2, 3)), atol=1e-6)
    by_hand = maps.reshape(2, 3, 2, 2, 4, 2).mean((3, 5)).reshape(2, -1)
    assert np.allclose(audio.pool(maps, 2, 4), by_hand, atol=1e-6)
    for grid in ((5, 1), (1, 9), (0, 1)):
        with pytest.raises(ValueError, match="does not fit maps of 4 x 8 places"):
            audio.pool(maps, *grid)
    with pytest.raises(ValueError, match=r"pass \(n, channels, height, width\)"):
        audio.pool(maps[0], 1, 1)


def slow_dtw(first: np.ndarray, second: np.ndarray) -> float:
    walk = np.full((first.shape[1] + 1, second.shape[1] + 1), np.inf)
    walk[0, 0] = 0
    for i in range(first.shape[1]):
        for j in range(second.shape[1]):
            price = np.linalg.norm(first[:, i] - second[:, j])
            walk[i + 1, j + 1] = price + min(walk[i, j], walk[i, j + 1], walk[i + 1, j])
    return walk[-1, -1]


def test_warping_equals_the_plain_table_and_a_narrow_band_is_the_straight_walk():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 3, 7)), rng.standard_normal((4, 3, 7))
    expected = [[slow_dtw(a, b) for b in second] for a in first]
    assert np.allclose(audio.dtw_distances(first, second, band=7), expected)
    straight = np.sqrt(((first[:, None] - second[None]) ** 2).sum(2)).sum(2)
    assert np.allclose(audio.dtw_distances(first, second, band=0), straight)
    assert np.allclose(np.diag(audio.dtw_distances(first, first)), 0, atol=1e-6)
    with pytest.raises(ValueError, match="pass .n, d, frames."):
        audio.dtw_distances(first, second[:, :2])


def test_cepstra_do_not_know_the_level():
    image = np.random.default_rng(0).integers(50, 150, (1, 64, 10))
    assert audio.cepstra(image).shape == (1, 13, 10)
    assert np.allclose(audio.cepstra(image), audio.cepstra(image + 60))
    with pytest.raises(ValueError, match=r"pass \(n, bands, frames\)"):
        audio.cepstra(image[0])


def test_masks_are_stripes_and_the_generator_decides():
    images = torch.ones(6, 1, 32, 32)
    change = audio.mask_and_move(8, 8)
    first, again = (change(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == images.shape and 0 <= first.min() and first.max() <= 1
    still = audio.mask_and_move(0, 0)(images, torch.Generator().manual_seed(3))
    assert (still == 0).float().mean() < (first == 0).float().mean()


def test_stripes_of_both_directions_are_masked():
    images = torch.ones(200, 1, 32, 32)
    for bands, frames in ((12, 0), (0, 12)):
        empty = audio.mask_and_move(bands, frames)(images, torch.Generator().manual_seed(0))[:, 0] == 0
        rows, columns = empty[:, :, 8:24].all(2)[:, 8:24].any(1), empty[:, 8:24].all(1)[:, 8:24].any(1)
        found = (rows if bands else columns, columns if bands else rows)
        assert found[0].float().mean() > 0.3 and not found[1].any()


def test_the_arms_recognise_words_of_other_voices(monkeypatch):
    """Short runs: what separates them is measured in the lesson."""
    monkeypatch.setattr(audio, "SCRATCH_STEPS", 60)
    bank = spoken_digits.load_spoken_digits()
    train, test = spoken_digits.speaker_split(bank.groups, 3, seed=0)
    for arm in ("raw spectrogram", "dynamic time warping", "small net from scratch"):
        assert audio.recognise(arm, bank.images, bank.labels, train, test, seed=0) > 0.6, arm
    net = audio.train_word_net(bank.images[train], bank.labels[train], 0)
    tuned = audio.train_word_net(bank.images[test][:40], bank.labels[test][:40], 0, start=net)
    moved = [not torch.equal(a, b) for a, b in zip(net.parameters(), tuned.parameters(), strict=True)]
    assert all(moved) and not net.training
    assert training.predict(net, torch.zeros(2, 1, 32, 32)).shape == (2, 10)


def test_wrong_arms_and_words_on_both_sides():
    images, labels = np.zeros((4, 64, 64), np.uint8), np.arange(4)
    with pytest.raises(ValueError, match="no arm called 'ears': choose one of frozen"):
        audio.recognise("ears", images, labels, [0, 1], [2, 3])
    with pytest.raises(ValueError, match="1 words are both trained and tested on"):
        audio.recognise("raw spectrogram", images, labels, [0, 1], [1, 2])
    with pytest.raises(ValueError, match="no probe called 'dynamic time warping'"):
        audio.describe(images, "dynamic time warping")


def test_the_stored_measurements_are_complete():
    measured = audio.real_digits()
    assert set(measured[measured["trained on"] == "one real person"].arm) == set(audio.ARMS)
    assert measured.groupby(["trained on", "arm"]).seed.nunique().eq(6).all() and measured.accuracy.between(0, 1).all()


def test_speech_features_of_a_tiny_model():
    import tiny_hub

    _, model = tiny_hub.speech()
    found = audio.speech_features([noise(3000), noise(5000, 1)], model)
    assert found.shape == (2, 4 * 16) and np.isfinite(found).all() and not np.allclose(found[0], found[1])
    assert np.array_equal(found[1:], audio.speech_features([noise(5000, 1)], model))  # one by one, so nothing depends on the others
    with pytest.raises(ValueError, match="the recording is silent"):
        audio.speech_features([np.zeros(3000)], model)
