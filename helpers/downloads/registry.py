"""The one list of what the full profile downloads: where each thing lies, which version, its hashes, who uses it."""
from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple


class File(NamedTuple):
    """name: in the item's folder. digest: "sha256:…", or "md5:…" where the publisher states no other."""

    name: str
    url: str
    digest: str


class HubModel(NamedTuple):
    """Where a model lies and what it is. revision: a commit, or "main". auto_class: of transformers. megabytes: to download, about.
    sha256: of its weights, or "" when nothing but the hub states it. package: its tokenizer's. reader: the class of transformers that
    makes the model's input."""

    repository: str
    revision: str
    auto_class: str
    licence: str
    megabytes: int
    purpose: str
    lessons: tuple[str, ...]
    sha256: str = ""
    package: str = "transformers"
    reader: str = "AutoTokenizer"


class Files(NamedTuple):
    """Files that are downloaded together."""

    files: tuple[File, ...]
    licence: str
    megabytes: int
    purpose: str
    lessons: tuple[str, ...]


# "main" is whatever the hub holds today: the first download notes the commit and the hash of each file, and later ones must match
# (see `store`). Put the commit in its place, here and nowhere else, and it is fixed for everybody.
MODELS = {
    "entailment": HubModel(
        "cross-encoder/nli-MiniLM2-L6-H768", "b95119ce93d3e065de6214e38cd4a97b0f2f2c6d", "AutoModelForSequenceClassification",
        "Apache-2.0", 330, "says whether an English text entails a statement; trained on SNLI and MultiNLI", ("14", "21"),
    ),
    "gpt": HubModel(
        "openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e", "AutoModelForCausalLM", "MIT", 550,
        "continues an English text; GPT-2 with 124 million parameters (Radford et al. 2019)", ("14",),
        "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    ),
    "translator": HubModel(
        "Helsinki-NLP/opus-mt-en-es", "5bc4493d463cf000c1f0b50f8d56886a392ed4ab", "AutoModelForSeq2SeqLM", "Apache-2.0", 310,
        "translates English to Spanish; MarianMT, trained on OPUS (Tiedemann & Thottingal 2020)", ("15",),
        "befce0f620e8e63f83bbb7f0818eb51d541cba28057a7cc14b00466d85c4994c", "sentencepiece",
    ),
    "painter": HubModel(
        "openai/imagegpt-small", "main", "ImageGPTForCausalImageModeling", "Apache-2.0", 320,
        "draws pictures of 32x32 pixels, pixel by pixel; Image GPT, trained on ImageNet (Chen et al. 2020)", ("19",),
        reader="ImageGPTImageProcessorPil",
    ),
    "clip": HubModel(
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "1a25a446712ba5ee05982a381eed697ef9b435cf", "AutoModel", "MIT", 610,
        "puts images and English texts into one space; CLIP (Radford et al. 2021), trained on the two billion pairs of LAION",
        ("03", "18", "20"),
    ),
    "speech": HubModel(
        "openai/whisper-tiny", "169d4a4341b33bc18d8881c4b69c2e104e1cc0af", "AutoModel", "Apache-2.0", 150,
        "turns speech into states and text; Whisper with 39 million parameters (Radford et al. 2022)", ("20",),
        "7ebd0e69e78190ffe1438491fa05cc1f5c1aa3a4c4db3bc1723adbb551ea2395",
    ),
    "bert": HubModel(
        "google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594", "AutoModelForMaskedLM", "Apache-2.0", 440,
        "guesses masked words of an English text; BERT-base with 110 million parameters (Devlin et al. 2019)", ("13",),
        "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",
    ),
    "detector": HubModel(
        "hustvl/yolos-tiny", "95a90f3c189fbfca3bcfc6d7315b9e84d95dc2de", "AutoModelForObjectDetection", "Apache-2.0", 26,
        "finds objects of 80 classes; YOLOS-tiny (Fang et al. 2021), trained on COCO, 118,000 photographs with boxes", ("16", "17"),
        "5a6a017a20cb522dd347271fa5bd670467e456176aaccd940090e50985ac6e74", reader="YolosImageProcessorPil",
    ),
}  # fmt: skip

KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/{folder}/{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"


def _keras(folder: str, name: str, md5: str, megabytes: int, paper: str, lessons: tuple[str, ...]) -> Files:
    """ImageNet weights without the top; the hash is the one that the keras package itself compares."""
    file = File(f"{name}_notop.h5", KERAS.format(folder=folder, name=name), f"md5:{md5}")
    return Files((file,), "Apache-2.0", megabytes, f"ImageNet weights of keras.applications ({paper})", lessons)


def _recordings() -> tuple[File, ...]:
    at = "https://raw.githubusercontent.com/Jakobovski/free-spoken-digit-dataset/master/recordings/"
    listed = json.loads((Path(__file__).parent.parent / "data" / "free_spoken_digits.json").read_text(encoding="utf-8"))
    return tuple(File(name, at + name, f"sha256:{sha256}") for name, sha256 in listed.items())


_REVIEWS = "https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/master/data/SST2/"
FILES = {
    "VGG16": _keras("vgg16", "vgg16", "6d6bbae143d832006294945121d1f1fc", 59, "Simonyan & Zisserman 2015", ("02", "05")),
    "ResNet50": _keras("resnet", "resnet50", "4d473c1dd8becc155b73f8504c6f6626", 95, "He et al. 2016", ("02",)),
    "InceptionV3": _keras("inception_v3", "inception_v3", "bcbd6486424b2319ff4ef7d526e38f63", 88, "Szegedy et al. 2016", ("02",)),
    "DenseNet121": _keras("densenet", "densenet121", "30ee3e1110167f948a6b9946edeeb738", 29, "Huang et al. 2017", ("02",)),
    "cifar10": Files(
        (File("cifar-10-binary.tar.gz", "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
              "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),),
        "none stated", 170, "60,000 photographs of ten classes, 32x32 (Krizhevsky 2009)", ("00", "01", "03", "04", "06", "10", "11"),
    ),
    "sst2": Files(
        (
            File("train.tsv", _REVIEWS + "train.tsv", "sha256:ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
            File("dev.tsv", _REVIEWS + "dev.tsv", "sha256:eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
            File("test.tsv", _REVIEWS + "test.tsv", "sha256:831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
        ),
        "none stated", 1, "9,613 sentences of film reviews, liked or not (Socher et al. 2013)", ("12", "13"),
    ),
    "free_spoken_digits": Files(
        _recordings(), "CC BY-SA 4.0", 3, "300 recordings of spoken digits by six people (Jackson et al. 2018)",
        ("07", "08", "09", "20"),
    ),
}  # fmt: skip


def names() -> tuple[str, ...]:
    """Of everything that can be downloaded."""
    return (*MODELS, *FILES)


def item(name: str) -> HubModel | Files:
    """The entry of this name. Raises ValueError with the names that exist."""
    if name not in MODELS and name not in FILES:
        raise ValueError(f"nothing called {name!r} to download: choose one of {', '.join(names())}")
    return MODELS.get(name) or FILES[name]


def title(name: str) -> str:
    """How a sentence names it."""
    return f"the model {MODELS[name].repository}" if name in MODELS else f"{name} ({item(name).purpose.split(' (')[0]})"


def of_lesson(number: str) -> tuple[str, ...]:
    """The names of what the "Go bigger" cell of a lesson downloads, "03" for example."""
    return tuple(name for name in names() if number in item(name).lessons)
