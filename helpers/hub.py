"""Models from a public hub, which the full profile downloads: what each is for, and how to load it."""
from __future__ import annotations

import importlib.util
import os
import warnings
from typing import TYPE_CHECKING, NamedTuple

from helpers import config
from helpers.errors import CourseError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class HubModel(NamedTuple):
    """Where a model lies and what it is. auto_class: of transformers. megabytes: to download, about. package: its tokenizer's.
    reader: the class of transformers that makes the model's input."""

    repository: str
    revision: str
    auto_class: str
    licence: str
    megabytes: int
    purpose: str
    package: str = "transformers"
    reader: str = "AutoTokenizer"


# "main" is whatever the hub holds today. Put the hash of a commit in its place, here and nowhere else, once a run with a network
# has shown that it works: then a model cannot change any more.
MODELS = {
    "entailment": HubModel(
        "cross-encoder/nli-MiniLM2-L6-H768", "main", "AutoModelForSequenceClassification", "Apache-2.0", 330,
        "says whether an English text entails a statement; trained on SNLI and MultiNLI",
    ),
    "gpt": HubModel(
        "openai-community/gpt2", "main", "AutoModelForCausalLM", "MIT", 550,
        "continues an English text; GPT-2 with 124 million parameters (Radford et al. 2019)",
    ),
    "translator": HubModel(
        "Helsinki-NLP/opus-mt-en-es", "main", "AutoModelForSeq2SeqLM", "Apache-2.0", 310,
        "translates English to Spanish; MarianMT, trained on OPUS (Tiedemann & Thottingal 2020)", "sentencepiece",
    ),
    "painter": HubModel(
        "openai/imagegpt-small", "main", "ImageGPTForCausalImageModeling", "Apache-2.0", 320,
        "draws pictures of 32x32 pixels, pixel by pixel; Image GPT, trained on ImageNet (Chen et al. 2020)",
        reader="ImageGPTImageProcessorPil",
    ),
    "clip": HubModel(
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "main", "AutoModel", "MIT", 610,
        "puts images and English texts into one space; CLIP (Radford et al. 2021), trained on the two billion pairs of LAION",
    ),
    "speech": HubModel(
        "openai/whisper-tiny", "main", "AutoModel", "Apache-2.0", 150,
        "turns speech into states and text; Whisper with 39 million parameters (Radford et al. 2022)",
    ),
}  # fmt: skip


def load(name: str) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """(tokenizer or image processor, model) in evaluation mode on `config.device()`, in float32; needs COURSE_PROFILE=full.

    name: one of `MODELS`. The hub's own client downloads it once and keeps it in its own cache folder (HF_HOME moves it); a file
    gets its name there only when it is complete.
    Raises ValueError for another name, CourseError in the offline profile, when a package is missing or when the download fails.
    """
    if name not in MODELS:
        raise ValueError(f"no model called {name!r}: choose one of {', '.join(MODELS)}")
    entry = MODELS[name]
    if config.profile() == "offline":
        raise CourseError(f"the model {entry.repository} ({entry.megabytes} MB) must be downloaded, and this is the offline "
                          "profile: set COURSE_PROFILE=full before you start")
    if importlib.util.find_spec(entry.package) is None:
        raise CourseError(f"the tokenizer of {entry.repository} needs the package {entry.package}, which is not installed: "
                          f"run `pip install {entry.package}` and start again")
    # For a model in an older format, transformers would ask the hub to convert it, in a thread that outlives this call.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    import transformers

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MarianMT's tokenizer recommends a package that we do not need
            tokenizer = getattr(transformers, entry.reader).from_pretrained(entry.repository, revision=entry.revision)
            model_class = getattr(transformers, entry.auto_class)
            model = model_class.from_pretrained(entry.repository, revision=entry.revision, dtype="float32")
    except Exception as error:  # of the network, the hub, the disk or a damaged file: each library has its own
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CourseError(f"the model {entry.repository} could not be loaded: is there a network connection? Check it and run "
                          "the cell again, what arrived whole is kept; if that does not help, delete the model's folder in the "
                          "hub's cache. "
                          f"(The hub's client says: {reason})") from None
    return tokenizer, model.eval().to(config.device())
