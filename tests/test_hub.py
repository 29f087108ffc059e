"""Models from a hub, and the "Go bigger" cells of all lessons: a tiny hub and a file server on this machine stand in for the public
ones. The cells run in a process of their own, with the libraries that a lesson uses and less data than it takes."""
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
import tiny_hub

from helpers import config, hub
from helpers.downloads import registry, store
from helpers.errors import CourseError

LESSONS = [path.stem[:2] for path in sorted((config.ROOT / "lessons").glob("[0-9][0-9]_*.ipynb"))]
LESSONS = [lesson for lesson in LESSONS if lesson <= "21"]  # the capstone downloads what its learner names


def cells_of(lesson: str) -> list:
    (path,) = (config.ROOT / "lessons").glob(f"{lesson}_*.ipynb")
    return nbformat.read(path, as_version=4).cells


def use(patch: pytest.MonkeyPatch, folder: Path, server: tiny_hub.Server) -> None:
    """The full profile with the hub at this server, an empty cache, and the tiny models in the public ones' places."""
    settings = {"COURSE_PROFILE": "full", "COURSE_CACHE": str(folder), "HF_ENDPOINT": server.url, "NO_PROXY": "127.0.0.1"}
    for name, value in settings.items():
        patch.setenv(name, value)
    patch.delenv("COURSE_DOWNLOADS", raising=False)
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for name, entry in tiny_hub.stand_ins().items():
        patch.setitem(registry.MODELS, name, entry)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    return tiny_hub.save(tmp_path_factory.mktemp("models"))


@pytest.fixture
def server(files, tmp_path, monkeypatch):
    with tiny_hub.serve(files) as running:
        use(monkeypatch, tmp_path, running)
        yield running


def reads(reader) -> list:
    if hasattr(reader, "clusters"):
        return np.ravel(reader.clusters).tolist()
    return np.ravel(reader.size["shortest_edge"]).tolist() if hasattr(reader, "size") else reader("images")["input_ids"]


@pytest.mark.parametrize("name", hub.MODELS)
def test_a_model_arrives_whole_in_evaluation_mode_and_then_needs_no_network(server, name, capfd):
    tokenizer, model = tiny_hub.TINY[name]()
    for _ in range(2):
        reader, loaded = hub.load(name)
        assert reads(reader) == pytest.approx(reads(tokenizer), abs=1e-5) and type(loaded) is type(model)
        assert not loaded.training and {str(weight.dtype) for weight in loaded.parameters()} == {"torch.float32"}
        for ours, theirs in zip(loaded.parameters(), model.parameters(), strict=True):
            assert np.allclose(ours.detach().cpu(), theirs.detach())
        asked, server.asked = len(server.asked), []
    assert asked == 0, "the second time nobody was asked"
    assert capfd.readouterr().err == ""


def test_without_a_network_one_sentence_within_two_seconds(server, monkeypatch):
    # Nobody listens on port 9. The hub's own client would try for 48 seconds.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    began = time.perf_counter()
    with pytest.raises(CourseError, match="the model tiny/gpt .550 MB. could not be downloaded: is there a network connection") as said:
        hub.load("gpt")
    assert time.perf_counter() - began < 2 and "\n" not in str(said.value)


def test_a_damaged_file_is_replaced_and_never_loaded(server):
    _, model = hub.load("gpt")
    path = store.own() / "gpt" / "model.safetensors"
    content = path.read_bytes()
    path.unlink()  # the model in memory may still be reading it
    path.write_bytes(content[:-4] + b"\x00\x00\x80\x3f")  # the right length, another weight: it would load
    _, again = hub.load("gpt")
    assert path.read_bytes() == content
    for ours, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert np.array_equal(ours.detach().cpu(), theirs.detach().cpu())


def test_files_that_the_library_cannot_read_are_a_sentence(server):
    server.files["/tiny/gpt/resolve/main/config.json"] = b'{"model_type": "of tomorrow"}'
    with pytest.raises(CourseError, match="the files of tiny/gpt are whole, but could not be loaded: install what requirements.txt"):
        hub.load("gpt")


def test_offline_wrong_names_and_missing_packages(monkeypatch):
    monkeypatch.delenv("COURSE_PROFILE", raising=False)
    with pytest.raises(ValueError, match="no model called 'gpt5': choose one of entailment, gpt, translator, painter, clip, speech"):
        hub.load("gpt5")
    with pytest.raises(CourseError, match=r"gpt2 must be downloaded \(550 MB\), .* offline profile: set COURSE_PROFILE=full"):
        hub.load("gpt")
    monkeypatch.setenv("COURSE_PROFILE", "full")
    monkeypatch.setitem(hub.MODELS, "translator", hub.MODELS["translator"]._replace(package="no_such_package"))
    with pytest.raises(CourseError, match="needs the package no_such_package, which is not installed"):
        hub.load("translator")


def test_the_detector_s_reader_takes_the_publisher_s_older_settings(server):
    """As hub files of 2022 write them."""
    settings = {"do_normalize": True, "do_resize": True, "feature_extractor_type": "YolosFeatureExtractor", "format": "coco_detection",
                "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "max_size": 96, "size": 64}
    at = "/tiny/detector/resolve/main/"
    server.files.pop(at + "processor_config.json", None)
    server.files[at + "preprocessor_config.json"] = json.dumps(settings).encode()
    from helpers import detection

    reader, model = hub.load("detector")
    found = detection.objects_in(np.full((50, 80, 3), 99, np.uint8), reader, model, threshold=0)
    assert len(found) == 5 and found[0][1] == max(sure for _, sure, _ in found) and found[0][0] in ("N/A", "person", "cat", "cup")


@pytest.mark.skipif(importlib.util.find_spec("sentencepiece") is None, reason="needs the package sentencepiece")
def test_the_tokenizer_of_marian_reads_and_writes(tmp_path, server):
    """MarianMT's own tokenizer, through the same two functions as the cell of lesson 15."""
    import sentencepiece

    words = [line.lower() for line in tiny_hub.LINES]
    for side in ("source", "target"):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(words), model_prefix=str(tmp_path / side), vocab_size=60, hard_vocab_limit=False, minloglevel=2
        )
        (tmp_path / f"{side}.model").rename(tmp_path / f"{side}.spm")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "source.spm"))
    spelled = sorted({piece for line in words for piece in pieces.encode(line, out_type=str)})
    vocabulary = {piece: place for place, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *spelled])}
    settings = {"source_lang": "en", "target_lang": "es", "tokenizer_class": "MarianTokenizer"}
    at = "/tiny/translator/resolve/main/"
    for name in [name for name in server.files if name.startswith(at) and "tokenizer" in name]:
        del server.files[name]
    server.files |= {at + f"{side}.spm": (tmp_path / f"{side}.spm").read_bytes() for side in ("source", "target")}
    server.files |= {at + "vocab.json": json.dumps(vocabulary).encode(), at + "tokenizer_config.json": json.dumps(settings).encode()}
    from helpers import language_models

    tokenizer, model = hub.load("translator")
    assert type(tokenizer).__name__ == "MarianTokenizer"
    assert tokenizer.decode(tokenizer("two hundred")["input_ids"], skip_special_tokens=True) == "two hundred"
    model.final_logits_bias[0, len(tokenizer) :] = -1e9
    assert len(language_models.translate(["two hundred", "dos mil"], tokenizer, model, 9)) == 2


# --- the cells


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_cell_of_a_lesson_says_offline_what_it_would_do(lesson):
    cells = cells_of(lesson)
    (cell,) = (cell for cell in cells if cell.id == "go-bigger")
    (output,) = cell.outputs
    assert output.text.startswith("With COURSE_PROFILE=full, set before you start, this cell downloads ") and output.text.count("\n") == 1
    said = int(re.search(r"(\d+) MB", output.text)[1])
    wanted = sum(registry.item(name).megabytes for name in registry.of_lesson(lesson))
    assert abs(said - wanted) <= 0.05 * wanted, f"the cell says {said} MB, the registry {wanted}"
    asked = "".join(cell.source for cell in cells)
    for name in registry.of_lesson(lesson):
        uses = {"cifar10": "few_shot_photos", "free_spoken_digits": "load_real_digits"}.get(name, name)
        assert uses in asked or (name in hub_names() and f'"{name}"' in asked) or "keras_port.APPLICATIONS" in asked, name


def hub_names() -> tuple[str, ...]:
    return tuple(registry.MODELS)


START = """
import functools, json, os, sys, time
from pathlib import Path
sys.path.insert(0, os.environ["COURSE_TESTS"])
import matplotlib
matplotlib.use("Agg")
import nbformat
import numpy as np
import tiny_hub
from helpers import config, hub
from helpers.downloads import registry

registry.MODELS.update(tiny_hub.stand_ins())
for name, files in json.loads(os.environ["TINY_FILES"]).items():
    listed = tuple(registry.File(file, os.environ["HF_ENDPOINT"] + f"/{name}/{file}", digest) for file, digest in files.items())
    registry.FILES[name] = registry.FILES[name]._replace(files=listed)


def code_of(lesson, *names):
    (path,) = (config.ROOT / "lessons").glob(f"{lesson}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    return chr(10).join(cell.source for cell in cells if cell.id in names)


def lesson(number, **smaller):
    # What the cell finds in its lesson: what the first cells import, and what is given here.
    print("== lesson", number, f"at {time.process_time():.0f} s", flush=True)
    space = {"__name__": "__main__", "display": print}
    exec(code_of(number, "setup", "setup-course"), space)
    space.update(smaller)
    exec(code_of(number, "bert-arms", "go-bigger"), space)
"""
SMALL = """
from helpers.data import splits

draw = splits.k_shot
splits.k_shot = lambda labels, k, *others, **named: draw(labels, min(k, 6), *others, **named)
from helpers import features, few_shot_photos, training

# Real features of a thousand photographs, and training on them, take minutes; these keep their shapes.
fit, load_task = training.fit, few_shot_photos.load_task
training.fit = lambda *arguments, steps, **others: fit(*arguments, steps=2, **others)
few_shot_photos.load_task = functools.lru_cache(lambda pool=200, test=6: load_task(min(pool, 12), min(test, 6)))
features.extract = lambda images, *_, **__: few_shot_photos.pixels(images)[:, ::8]
features.extract_maps = lambda images, *_, **__: np.random.default_rng(0).normal(size=(len(images), 112, 1, 1)).astype(np.float32)
lesson("00")
lesson("01")
lesson("03", SEEDS=range(2))
lesson("04")
lesson("06")
lesson("10")
lesson("11")
"""
VOICES = """
lesson("07")
lesson("08")
lesson("09")
"""
TEXTS = """
from helpers import text_finetuning

text_finetuning.MAX_TOKENS = 16
steps = text_finetuning.length_batches
text_finetuning.length_batches = lambda states, labels, count, seed: steps(states, labels, 2, seed)
lesson("13")
"""
BOXES = """
from helpers.data import clips, figures

figures.load_figures = functools.partial(lambda real, count, train: real(8, train), figures.load_figures)
from helpers import dense
train = dense.train
dense.train = lambda *arguments, steps, **others: train(*arguments, steps=2, **others)
lesson("16")
lesson("17")
clips.moving_clips = functools.partial(lambda real, each, train: real(5, train), clips.moving_clips)
lesson("18")
"""
KERAS = """
from helpers import keras_port
from helpers.data import photos

keras_port.APPLICATIONS = ("VGG16", "DenseNet121")
photos.load_photos = functools.partial(photos.load_photos, 5)
describe = keras_port.application_features
keras_port.application_features = lambda name, images, size=96: describe(name, images, 32)
lesson("05")
lesson("02")
"""
REVIEWS = """
from helpers import experiment, text
from sklearn.feature_extraction.text import HashingVectorizer

text.embed = lambda texts: HashingVectorizer(n_features=64).transform(texts).toarray()
lesson("12")
"""
TOPICS = """
from helpers import text, zero_shot
from helpers.data import docstrings

names = tuple(docstrings.SOURCE)
labels = np.repeat(np.arange(9), 14)
texts = np.array([f"{names[label]}, text {place}" for place, label in enumerate(labels)], dtype=object)
source = docstrings.TextSet(texts, labels, names, np.arange(len(labels)))
reported, tuning = np.arange(0, 126, 2), np.arange(1, 126, 2)
home, described = text.embed(source.texts), zero_shot.describe({name: [name] for name in names})


def accuracy(scores, labels):
    assert scores.shape == (len(labels), 9) and np.isfinite(scores).all()
    return float((scores.argmax(1) == labels).mean())


print("== lesson 14")
exec(code_of("14", "go-bigger"))
"""
NUMBERS = """
from helpers import language_models
from helpers.data import number_words
from helpers.data.number_words import COUNT

number_words.texts = lambda language: [f"{number} in {language}" for number in range(COUNT)]
language_models.translate.__defaults__ = (8,)  # with random weights it says one word for ever
print("== lesson 15")
exec(code_of("15", "go-bigger"))
"""
PICTURES = """
lesson("19")
"""
SOUNDS = """
from helpers import audio, crossmodal, features
from helpers.data import captioned_photos, photos, spoken_digits

data = captioned_photos.load_captioned_photos(1, 2)
in_train = data.groups == photos.TRAIN
offered, truth = np.unique(data.attributes[~in_train], axis=0, return_inverse=True)
truth, asked = truth.ravel(), {"other words": [captioned_photos.caption(row, 2, True) for row in offered]}
frozen, raw = audio.ARMS[0], audio.ARMS[3]
print("== lesson 20")
exec(code_of("20", "go-bigger"))
"""


EXPORTS = """
lesson("21", work=Path(os.environ["COURSE_CACHE"]))
"""


def run(folder: Path, server: tiny_hub.Server, code: str, data: dict[str, dict[str, bytes]]) -> str:
    """What a fresh Python prints that runs the cells, in the full profile, with empty caches. data: {item: {file: content}}."""
    server.files |= {f"/{name}/{file}": content for name, listed in data.items() for file, content in listed.items()}
    digests = {}
    for name, listed in data.items():
        digests[name] = {file: f"sha256:{hashlib.sha256(content).hexdigest()}" for file, content in listed.items()}
    kept = [name for name in os.environ if "proxy" not in name.lower() and not name.startswith(("HF_", "TRANSFORMERS_", "COURSE_"))]
    surroundings = {name: os.environ[name] for name in kept} | {
        "COURSE_PROFILE": "full", "COURSE_CACHE": str(folder / "cache"), "COURSE_DEVICE": "cpu", "COURSE_PROGRESS": "0",
        "COURSE_CORES": "1",  # everything stays in one process
        "COURSE_TESTS": str(config.ROOT / "tests"), "HF_ENDPOINT": server.url, "TINY_FILES": json.dumps(digests),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, env=surroundings, timeout=600)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


NUMBER = r"\d\.\d{3} ± \d\.\d{3}"


@pytest.mark.slow
def test_the_cells_run_in_the_full_profile(files, tmp_path):
    people = {f"{digit}_{name}_{take}.wav": tiny_hub.recording(30 * place + 3 * digit + take)
              for place, name in enumerate("abcdef") for digit in range(10) for take in range(2)}
    lines = [f"{'good and true' if place % 3 else 'dull and false'} , film {place}\t{int(place % 3 > 0)}" for place in range(900)]
    reviews = {f"{split}.tsv": "\n".join(lines[:count]).encode() for split, count in (("train", 900), ("dev", 30), ("test", 40))}
    pictures = {"cifar-10-binary.tar.gz": tiny_hub.cifar10(*tiny_hub.photographs(15, 0))}
    with tiny_hub.serve(files) as server:
        code = SMALL + VOICES + TEXTS + BOXES + REVIEWS + PICTURES + TOPICS + NUMBERS + SOUNDS + EXPORTS
        printed = run(tmp_path, server, code, {"cifar10": pictures, "free_spoken_digits": people, "sst2": reviews})
    parts = {part[:2]: part.partition("\n")[2] for part in printed.split("== lesson ")[1:]}
    counts = {"00": 9, "01": 8, "03": 18, "04": 6, "06": 8, "10": 8, "11": 3}
    assert {number: len(re.findall(NUMBER, parts[number])) for number in counts} == counts, printed
    assert "CLIP" in parts["03"] and "silhouette" in parts["11"]
    assert len(re.findall(r"told apart \d\.\d\d, MMD² \d\.\d{3}", parts["07"])) == 3, parts["07"]
    assert len(re.findall(NUMBER, parts["08"])) == 4 and "self-training" in parts["08"]
    assert len(re.findall(r"(pool|ensemble)(, one bad)? +\d\.\d+ +\d\.\d+", parts["09"])) == 4, parts["09"]
    assert parts["13"].count("The film was ___") == 1 and len(re.findall(NUMBER, parts["13"])) == 6, parts["13"]
    assert len(re.findall(r"^(astronaut|chelsea|coffee|rocket|a scene of digits) ", parts["16"], re.M)) == 5, parts["16"]
    assert len(re.findall(rf"IoU {NUMBER}", parts["17"])) == 2 and len(re.findall(NUMBER, parts["18"])) == 4, parts["18"]
    assert re.search(r"word counts +embedding", parts["12"]) and re.search(r"200 +1\.000 ± 0\.000", parts["12"]), parts["12"]
    methods = "six sentences|entailment|GPT-2, [04] examples"
    assert len(re.findall(rf"({methods}) +\{{'as it is': '\d\.\d\d', 'centred': '\d\.\d\d'\}}", parts["14"])) == 6, parts["14"]
    assert "Where is the station?" in parts["15"] and "of 200 numbers are right from the first word to the end" in parts["15"]
    assert "six pictures of 8x8 pixels" in parts["19"]
    assert re.search(r"CLIP names the subject of \d\.\d{3} of the test images", parts["20"])
    assert "CLIP, captions in other words" in parts["20"]
    assert len(re.findall(r"(fp32|int8, dynamic): logits \d\.\de-\d+ apart, \d+\.\d ms", parts["21"])) == 2, parts["21"]
    assert len(re.findall(rf"one real person, (Whisper, frozen|frozen, block 10|raw spectrogram).*{NUMBER}", parts["20"])) == 3, parts["20"]


@pytest.mark.slow
def test_the_cells_on_keras_networks_run_with_files_of_the_publisher_s_format(files, tmp_path):
    code = """
import sys, keras, h5py
from keras.src.legacy.saving import legacy_h5_format
for name, file in (("VGG16", "vgg16"), ("DenseNet121", "densenet121")):
    keras.utils.set_random_seed(0)
    with h5py.File(f"{sys.argv[1]}/{file}_notop.h5", "w") as where:
        legacy_h5_format.save_weights_to_hdf5_group(where, getattr(keras.applications, name)(weights=None, include_top=False))
"""
    surroundings = {**os.environ, "KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, env=surroundings, timeout=200)
    made = {name: {f"{name.lower()}_notop.h5": (tmp_path / f"{name.lower()}_notop.h5").read_bytes()} for name in ("VGG16", "DenseNet121")}
    with tiny_hub.serve(files) as server:
        printed = run(tmp_path, server, KERAS, made)
    assert "vgg16: 14,714,688 parameters, maps of shape (2, 2, 512)" in printed
    assert re.search(r"VGG16 +512 features, five labels a class: \d\.\d{3}", printed), printed
    assert len(re.findall(r"^(VGG16|DenseNet121|EfficientNet-Lite0) +-?\d+\.\d+ +\d\.\d+ +\d\.\d+$", printed, re.M)) == 3, printed
