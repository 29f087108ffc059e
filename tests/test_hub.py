"""Models from a hub: a tiny hub on this machine stands in for the public one. A process of its own does the loading, since the
hub's address, like its cache, is read once, at import; it also runs the cells of the lessons that need the full profile."""
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_hub

from helpers import config, hub
from helpers.errors import CourseError

START = """
import json, os, sys
from pathlib import Path
import nbformat
import numpy as np
from helpers import config, hub
from helpers.errors import CourseError

# The test's models stand in the public ones' places, under the same short names.
for name in hub.MODELS:
    hub.MODELS[name] = hub.MODELS[name]._replace(repository=f"tiny/{name}", package="transformers")


def reads(reader):
    if hasattr(reader, "clusters"):
        return np.asarray(reader.clusters).round(5).tolist()
    return reader("images")["input_ids"]


def refused(call):
    try:
        call()
    except CourseError as error:
        return str(error)
    raise AssertionError("accepted")


def cell(lesson):
    (path,) = (config.ROOT / "lessons").glob(f"{lesson}_*.ipynb")
    return next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.id == "go-bigger")
"""
LOADS = """
import time
import urllib.request

time.sleep = lambda seconds: None  # the hub's client waits before it tries again, five times

found = {"broken": refused(lambda: hub.load("gpt"))}
folder = Path(os.environ["HF_HOME"]) / "hub" / "models--tiny--gpt"
found["kept"] = [str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")]
urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/heal").close()
for name in hub.MODELS:
    tokenizer, model = hub.load(name)
    sums = [weight.double().sum().item() for weight in model.parameters()]
    found[name] = [reads(tokenizer), type(model).__name__, model.training, str(model.dtype), sums]
weights = next(folder.rglob("model.safetensors")).resolve()
weights.write_bytes(weights.read_bytes()[:1000])
found["damaged"] = refused(lambda: hub.load("gpt"))
hub.MODELS["gpt"] = hub.MODELS["gpt"]._replace(repository="tiny/nothing")
found["missing"] = refused(lambda: hub.load("gpt"))
print(json.dumps(found))
"""
# What each cell finds in its lesson, smaller.
REVIEWS = """
from helpers import experiment, text
from helpers.data import sst2
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

text.embed = lambda texts: HashingVectorizer(n_features=64).transform(texts).toarray()
sst2.URL = os.environ["HF_ENDPOINT"] + "/{split}.tsv"
sst2.SHA256.update(json.loads(os.environ["TINY_SHA256"]))
exec(cell("12"))
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


exec(cell("14"))
"""
NUMBERS = """
from helpers import language_models
from helpers.data import number_words
from helpers.data.number_words import COUNT

number_words.texts = lambda language: [f"{number} in {language}" for number in range(COUNT)]
language_models.translate.__defaults__ = (8,)  # with random weights it says one word for ever
exec(cell("15"))
"""
PICTURES = """
import matplotlib

matplotlib.use("Agg")
from helpers import generative, plots
from helpers.data import photos

exec(cell("19"))
"""
SOUNDS = """
from helpers import audio, crossmodal, features
from helpers.data import captioned_photos, photos, spoken_digits

spoken_digits.URL, spoken_digits.REGISTRY = os.environ["HF_ENDPOINT"] + "/{name}", Path(os.environ["TINY_REGISTRY"])
data = captioned_photos.load_captioned_photos(1, 2)
in_train = data.groups == photos.TRAIN
offered, truth = np.unique(data.attributes[~in_train], axis=0, return_inverse=True)
truth, asked = truth.ravel(), {"other words": [captioned_photos.caption(row, 2, True) for row in offered]}
frozen, raw = audio.ARMS[0], audio.ARMS[3]
exec(cell("20"))
"""


def run(folder: Path, server: tiny_hub.Server, code: str, **settings: str) -> str:
    """What a fresh Python prints, in the full profile, with the hub at this server and empty caches."""
    kept = [name for name in os.environ if "proxy" not in name.lower() and not name.startswith(("HF_", "TRANSFORMERS_"))]
    environment = {name: os.environ[name] for name in kept}
    environment |= {
        "COURSE_PROFILE": "full", "COURSE_CACHE": str(folder / "cache"), "COURSE_DEVICE": "cpu", "COURSE_PROGRESS": "0",
        "HF_ENDPOINT": server.url, "HF_HOME": str(folder / "hub"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        **settings,
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    return tiny_hub.save(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def loaded(files, tmp_path_factory) -> dict:
    """What loading gave: from a server that first breaks off the transfer of GPT's weights, then does not."""
    with tiny_hub.serve(files, cut="/gpt/resolve/main/model.safetensors") as server:
        return json.loads(run(tmp_path_factory.mktemp("loads"), server, LOADS).splitlines()[-1])


@pytest.mark.parametrize("name", hub.MODELS)
def test_a_model_arrives_whole_and_in_evaluation_mode(loaded, name):
    read, kind, training, dtype, sums = loaded[name]
    reader, model = tiny_hub.TINY[name]()
    colours = hasattr(reader, "clusters")
    expected = np.asarray(reader.clusters).ravel() if colours else reader("images")["input_ids"]
    assert np.ravel(read) == pytest.approx(expected, abs=1e-5) and kind == type(model).__name__
    assert not training and dtype == "torch.float32"
    assert sums == pytest.approx([weight.double().sum().item() for weight in model.parameters()], abs=1e-6)


def test_a_connection_that_breaks_off_is_a_sentence_and_leaves_no_half_file(loaded):
    assert loaded["broken"].startswith("the model tiny/gpt could not be loaded: is there a network connection?"), loaded["broken"]
    assert loaded["kept"] == []  # and the next call succeeded: see above


def test_a_damaged_file_and_a_model_that_is_not_there_are_sentences(loaded):
    assert "delete the model's folder in the hub's cache" in loaded["damaged"]
    assert loaded["missing"].startswith("the model tiny/nothing could not be loaded"), loaded["missing"]
    assert not any("\n" in loaded[name] for name in ("broken", "damaged", "missing"))


def test_offline_wrong_names_and_missing_packages(monkeypatch):
    monkeypatch.delenv("COURSE_PROFILE", raising=False)
    with pytest.raises(ValueError, match="no model called 'gpt5': choose one of entailment, gpt, translator, painter, clip, speech"):
        hub.load("gpt5")
    with pytest.raises(CourseError, match=r"gpt2 \(550 MB\) must be downloaded, .* offline profile: set COURSE_PROFILE=full"):
        hub.load("gpt")
    monkeypatch.setenv("COURSE_PROFILE", "full")
    monkeypatch.setitem(hub.MODELS, "translator", hub.MODELS["translator"]._replace(package="no_such_package"))
    with pytest.raises(CourseError, match="needs the package no_such_package, which is not installed"):
        hub.load("translator")


def test_the_table_is_filled_in():
    for entry in hub.MODELS.values():
        assert re.fullmatch(r"[\w-]+/[\w.-]+", entry.repository) and re.fullmatch(r"main|[0-9a-f]{40}", entry.revision)
        assert entry.licence in ("MIT", "Apache-2.0") and 10 < entry.megabytes < 1000 and entry.purpose


@pytest.mark.skipif(importlib.util.find_spec("sentencepiece") is None, reason="needs the package sentencepiece")
def test_the_tokenizer_of_marian_reads_and_writes(tmp_path, files):
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
    marian = {name: content for name, content in files.items() if name.startswith(at) and "tokenizer" not in name}
    marian |= {at + f"{side}.spm": (tmp_path / f"{side}.spm").read_bytes() for side in ("source", "target")}
    marian |= {at + "vocab.json": json.dumps(vocabulary).encode(), at + "tokenizer_config.json": json.dumps(settings).encode()}
    code = """
from helpers import language_models
tokenizer, model = hub.load("translator")
assert type(tokenizer).__name__ == "MarianTokenizer"
assert tokenizer.decode(tokenizer("two hundred")["input_ids"], skip_special_tokens=True) == "two hundred"
model.final_logits_bias[0, len(tokenizer):] = -1e9
print(len(language_models.translate(["two hundred", "dos mil"], tokenizer, model, 9)))
"""
    with tiny_hub.serve(marian) as server:
        assert run(tmp_path, server, code).splitlines()[-1] == "2"


@pytest.mark.parametrize("lesson", ["12", "14", "15", "19", "20"])
def test_the_cell_of_a_lesson_says_offline_what_it_would_do(lesson, capsys):
    import nbformat

    (path,) = (config.ROOT / "lessons").glob(f"{lesson}_*.ipynb")
    (cell,) = (cell for cell in nbformat.read(path, as_version=4).cells if cell.id == "go-bigger")
    (output,) = cell.outputs
    assert output.text.startswith("With COURSE_PROFILE=full, set before you start, this cell downloads")
    assert output.text.count("\n") == 1


@pytest.mark.slow
def test_the_cells_of_the_lessons_run_in_the_full_profile(files, tmp_path):
    import hashlib

    lines = [f"{'good and true' if place % 3 else 'dull and false'} , film {place}\t{int(place % 3 > 0)}" for place in range(90)]
    reviews = {"train": "\n".join(lines).encode(), "test": "\n".join(lines[:40]).encode()}
    hashes = json.dumps({split: hashlib.sha256(content).hexdigest() for split, content in reviews.items()})
    people = {f"{digit}_{name}_0.wav": tiny_hub.recording(place) for place, name in enumerate("abcdef") for digit in (0, 7)}
    registry = tmp_path / "registry.json"
    registry.write_text(json.dumps({name: hashlib.sha256(content).hexdigest() for name, content in people.items()}), encoding="utf-8")
    served = {f"/{split}.tsv": content for split, content in reviews.items()} | {f"/{name}": wav for name, wav in people.items()}
    settings = {"TINY_SHA256": hashes, "TINY_REGISTRY": str(registry)}
    with tiny_hub.serve(files | served) as server:
        # With one core everything stays in one process.
        printed = run(tmp_path, server, REVIEWS + TOPICS + NUMBERS + PICTURES + SOUNDS, COURSE_CORES="1", **settings)
    assert re.search(r"word counts +embedding", printed) and re.search(r"200 +1\.000 ± 0\.000", printed), printed
    methods = "six sentences|entailment|GPT-2, [04] examples"
    assert len(re.findall(rf"({methods}) +\{{'as it is': '\d\.\d\d', 'centred': '\d\.\d\d'\}}", printed)) == 6, printed
    assert "six pictures of 8x8 pixels" in printed
    assert "Where is the station?" in printed and "of 200 numbers are right from the first word to the end" in printed
    assert re.search(r"CLIP names the subject of \d\.\d{3} of the test images", printed) and "CLIP, captions in other words" in printed
    rows = re.findall(r"one real person, (Whisper, frozen|frozen, block 10|raw spectrogram).*\d\.\d{3} ± \d\.\d{3}", printed)
    assert len(rows) == 3, printed
