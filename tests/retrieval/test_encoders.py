import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pixsearch.config import EncoderOptions, Pooling
from pixsearch.retrieval.convert_clip import convert_clip
from pixsearch.retrieval.encoders import open_image_encoder, open_text_encoder
from tests.retrieval.conftest import tiny_clip

HASHED = EncoderOptions(name="hashed_ngrams", dimension=512)


def test_text_vectors_are_unit_and_near_for_shared_names():
    texts = ["The Vexlin is made by Orbander.", "who makes the vexlins?", "a red boat at sea"]
    vectors = open_text_encoder(HASHED).encode_text(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > similarity[0, 2] + 0.1


def test_text_without_words_is_the_zero_vector():
    assert not open_text_encoder(HASHED).encode_text(["", "?!", "who is it"]).any()


def test_text_vectors_do_not_depend_on_the_batch():
    encoder = open_text_encoder(HASHED)
    together = encoder.encode_text(["one thing", "another thing"])
    np.testing.assert_array_equal(together[1:], encoder.encode_text(["another thing"]))


def test_image_encoder_takes_any_mode_and_shape(clip_folder):
    options = EncoderOptions(name="open_clip", model=str(clip_folder), dimension=24, batch_size=2)
    images = [Image.new("L", (50, 20)), Image.new("RGBA", (32, 32)), Image.new("RGB", (7, 90))]
    vectors = open_image_encoder(options).encode_image(images)
    assert vectors.shape == (3, 24)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert open_image_encoder(options).encode_image([]).shape == (0, 24)


def test_wide_image_is_padded_not_cut(clip_folder):
    """The left third decides the vector as it would in a square padded with the mean colour."""
    options = EncoderOptions(name="open_clip", model=str(clip_folder), dimension=24)
    wide = Image.new("RGB", (96, 32), (20, 200, 40))
    wide.paste((250, 10, 10), (0, 0, 32, 32))
    square = Image.new("RGB", (96, 96), (128, 128, 128))
    square.paste(wide, (0, 32))
    cut = Image.new("RGB", (32, 32), (20, 200, 40))
    vectors = open_image_encoder(options).encode_image([wide, square, cut])
    assert vectors[0] @ vectors[1] > 0.999
    assert vectors[0] @ vectors[2] < 0.99


def test_fingerprint_follows_weights_and_preprocessing(clip_folder, tmp_path):
    def fingerprint(folder):
        options = EncoderOptions(name="open_clip", model=str(folder), dimension=24)
        return open_image_encoder(options).fingerprint

    model = tiny_clip()
    convert_clip(model.state_dict(), model.config, tmp_path / "same")
    convert_clip(model.state_dict(), model.config, tmp_path / "mean", mean=(0.4, 0.5, 0.5))
    state = {name: tensor * 1.01 for name, tensor in model.state_dict().items()}
    convert_clip(state, model.config, tmp_path / "weights")
    assert fingerprint(tmp_path / "same") == fingerprint(clip_folder)
    assert fingerprint(tmp_path / "mean") != fingerprint(clip_folder)
    assert fingerprint(tmp_path / "weights") != fingerprint(clip_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "word2vec"},
            "'word2vec' is unknown: choose from clip, dino, hashed_ngrams, ",
        ),
        ({"name": "open_clip"}, "open_clip_config.json is missing"),
        ({"pooling": Pooling.mean}, "hashed_ngrams.pooling=mean: its pooling is part of it, set"),
        ({"normalize": False}, "hashed_ngrams.normalize=false"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        open_text_encoder(replace(HASHED, **changes))


def test_modality_dimension_and_prefix_are_checked(clip_folder):
    image = EncoderOptions(name="open_clip", model=str(clip_folder), dimension=24)
    with pytest.raises(ValueError, match="cannot encode images"):
        open_image_encoder(HASHED)
    with pytest.raises(ValueError, match="cannot encode text"):
        open_text_encoder(image)
    with pytest.raises(ValueError, match="24 dimensions, the options say 25: set dimension=24"):
        open_image_encoder(replace(image, dimension=25))
    with pytest.raises(ValueError, match="prefix='query: '"):
        open_image_encoder(replace(image, prefix="query: "))
    with pytest.raises(ValueError, match="document_prefix='passage: '"):
        open_image_encoder(replace(image, document_prefix="passage: "))


def test_libraries_are_imported_with_their_encoder():
    """A search by words alone starts without torch."""
    heavy = {"torch", "transformers", "open_clip", "sentence_transformers"}
    program = "import sys, pixsearch.retrieval.searcher; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pixsearch.retrieval.build" in done.stdout.split()
    assert not heavy & set(done.stdout.split())


def test_missing_weights_are_not_replaced_by_random_ones(clip_folder, tmp_path):
    shutil.copy(clip_folder / "open_clip_config.json", tmp_path)
    options = EncoderOptions(name="open_clip", model=str(tmp_path), dimension=24)
    with pytest.raises(ValueError, match=r"model\.safetensors is missing"):
        open_image_encoder(options)
