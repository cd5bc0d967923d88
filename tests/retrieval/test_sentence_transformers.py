"""Text encoders of sentence-transformers, against the library and against transformers."""

import functools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from pixsearch.config import EncoderOptions, Pooling
from pixsearch.retrieval.encoders import open_text_encoder
from tests.retrieval.tiny import write_dino, write_plain_text_model, write_sentence_transformer

TEXTS = ["who made the red tower of this town ?", "a b c", "g", "who made a b c d e f g " * 9]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folder by kind: with all-mpnet-base-v2's steps, with BGE's (class token), and a plain one."""
    root = tmp_path_factory.mktemp("text")
    return {
        "mpnet": write_sentence_transformer(root / "mpnet", "mpnet"),
        "bge": write_sentence_transformer(root / "bge", pooling="cls"),
        "plain": write_plain_text_model(root / "plain"),
    }


def text_encoder(folder, **changes):
    options = EncoderOptions(name="sentence_transformers", model=str(folder), dimension=48)
    return open_text_encoder(replace(options, **changes))


opened = functools.cache(text_encoder)  # for folders that no test changes


@pytest.mark.parametrize("kind", ["mpnet", "bge"])
def test_the_librarys_vectors(kind, folders):
    library = SentenceTransformer(str(folders[kind]), device="cpu")
    expected = library.encode(TEXTS, normalize_embeddings=True)
    found = opened(folders[kind]).encode_text(TEXTS)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-6


def by_transformers(folder):
    """States of the last layer, unit length: the class token's, and the mean (CRAG-MM's way)."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    words = tokenizer(TEXTS, padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.inference_mode():
        states = model(**words).last_hidden_state
    is_word = words["attention_mask"][..., None]
    mean = (states * is_word).sum(dim=1) / is_word.sum(dim=1)
    vectors = {Pooling.mean: mean, Pooling.cls: states[:, 0]}
    return {pooling: F.normalize(each, dim=-1).numpy() for pooling, each in vectors.items()}


@pytest.mark.parametrize("kind", ["mpnet", "bge", "plain"])
def test_the_pooling_can_be_chosen(kind, folders):
    for pooling, expected in by_transformers(folders[kind]).items():
        found = opened(folders[kind], pooling=pooling).encode_text(TEXTS)
        assert np.abs(found - expected).max() <= 2e-6, pooling


def test_poolings_differ(folders):
    """BGE's own is the class token; CRAG-MM's mean is another vector."""
    own = opened(folders["bge"]).encode_text(TEXTS)
    cls, mean = (
        opened(folders["bge"], pooling=pooling).encode_text(TEXTS)
        for pooling in (Pooling.cls, Pooling.mean)
    )
    np.testing.assert_array_equal(own, cls)
    assert np.abs(own - mean).max() > 0.01


def test_vectors_do_not_depend_on_the_batch(folders):
    together = opened(folders["mpnet"]).encode_text(TEXTS)
    for size in (1, 3):
        found = text_encoder(folders["mpnet"], batch_size=size).encode_text(TEXTS)
        assert np.abs(found - together).max() <= 1e-6


def test_a_text_without_a_word_is_the_zero_vector(folders):
    encoder = opened(folders["mpnet"])
    vectors = encoder.encode_text(["", "a", " ?! \n", "…"])
    assert vectors.any(axis=1).tolist() == [False, True, False, False]
    assert encoder.encode_text([]).shape == (0, 48)
    assert not encoder.encode_text(["?"]).any()


def test_prompts_of_the_model_are_left_out(folders, tmp_path):
    """Prefixes are options; queries and documents must not get one unseen."""
    shutil.copytree(folders["mpnet"], tmp_path / "prompted")
    path = tmp_path / "prompted" / "config_sentence_transformers.json"
    prompts = {"prompts": {"query": "query : "}, "default_prompt_name": "query"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **prompts}))
    library = SentenceTransformer(str(tmp_path / "prompted"), device="cpu")
    plain = opened(folders["mpnet"]).encode_text(TEXTS)
    prompted = text_encoder(tmp_path / "prompted").encode_text(TEXTS)
    np.testing.assert_array_equal(plain, prompted)
    assert np.abs(library.encode(TEXTS) - prompted).max() > 0.01


def test_a_last_step_of_another_dimension(tmp_path):
    torch.manual_seed(0)
    folder = write_sentence_transformer(tmp_path / "dense", last=modules.Dense(48, 16))
    with pytest.raises(ValueError, match="gives 16 dimensions, the options say 48: set dim"):
        text_encoder(folder)
    encoder = text_encoder(folder, dimension=16)
    assert encoder.encode_text(TEXTS).shape == (4, 16)
    assert text_encoder(folder, dimension=16).fingerprint == encoder.fingerprint
    long = text_encoder(folder, dimension=16, normalize=False).encode_text(TEXTS)
    lengths = np.linalg.norm(long, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 1e-3
    np.testing.assert_allclose(long / lengths, encoder.encode_text(TEXTS), atol=1e-6)


def other_weights(folder):
    state = load_file(folder / "model.safetensors")
    changed = state["embeddings.word_embeddings.weight"] * 1.01
    state = {**state, "embeddings.word_embeddings.weight": changed}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def other_words(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"tower"', '"castle"'))


def other_pooling(folder):
    path = folder / "1_Pooling" / "config.json"
    path.write_text(path.read_text().replace("cls", "max"))


def other_length(folder):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 8}))


def without_pooler(folder):
    state = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in state.items() if not name.startswith("pooler.")}
    assert len(kept) == len(state) - 2
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def test_fingerprint_follows_all_that_decides_vectors(folders, tmp_path):
    found = {opened(folders["bge"]).fingerprint}
    shutil.copytree(folders["bge"], tmp_path / "copy")
    assert text_encoder(tmp_path / "copy").fingerprint in found
    for change in (other_weights, other_words, other_pooling, other_length):
        change(tmp_path / "copy")
        found.add(text_encoder(tmp_path / "copy").fingerprint)
    assert len(found) == 5


def test_a_head_that_is_never_asked_may_be_missing(folders, tmp_path):
    """Many models are saved without it; what the library draws in its place decides nothing."""
    shutil.copytree(folders["bge"], tmp_path / "headless")
    without_pooler(tmp_path / "headless")
    encoders = [text_encoder(tmp_path / "headless") for _ in range(2)]
    assert encoders[0].fingerprint == encoders[1].fingerprint
    expected = opened(folders["bge"]).encode_text(TEXTS)
    np.testing.assert_array_equal(encoders[0].encode_text(TEXTS), expected)


def without(name):
    return lambda folder: (folder / name).unlink()


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def lacking_a_weight(folder):
    state = load_file(folder / "model.safetensors")
    state.pop("embeddings.word_embeddings.weight")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def broken_steps(folder):
    (folder / "modules.json").write_text("[{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            without("modules.json"),
            "no modules.json says how it is pooled; set text_encoder",
        ),
        (broken_steps, "no modules.json can be loaded from this folder: Expecting property name"),
        (without("config.json"), "no model can be loaded from this folder: "),
        (without("model.safetensors"), "no model can be loaded from this folder: Error no file"),
        (cut, "no model can be loaded from this folder: Error while deserializing"),
        (lacking_a_weight, "1 of the weights that text_encoder.name=sentence_transformers needs"),
    ],
)
def test_a_broken_folder_is_one_line(damage, message, folders, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(folders["bge"], folder)
    damage(folder)
    refused(folder, message)


def refused(folder, message, **changes):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        text_encoder(folder, **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    refused(tmp_path / "nowhere", "nowhere: no model can be loaded from this folder or hub id: ")
    refused("all-mpnet-nowhere", "all-mpnet-nowhere: no model can be loaded from this folder or")
    refused("", "text_encoder.model is empty: text_encoder.name=sentence_transformers needs one")


def test_options_and_models_that_do_not_fit_are_refused(folders, tmp_path):
    refused(folders["bge"], "pooling=pooler: choose from none, cls, mean", pooling=Pooling.pooler)
    refused(folders["bge"], "its last step normalises: set text_encoder.nor", normalize=False)
    refused(folders["bge"], "is a folder, which has none: leave it null", revision="main")
    seeing = write_dino(tmp_path, "dinov2")
    refused(seeing, "begins with a Transformer for image; a transformer", pooling=Pooling.mean)
