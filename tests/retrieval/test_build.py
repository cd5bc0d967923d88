import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixsearch.config import TextSearch
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.convert_clip import convert_clip
from pixsearch.retrieval.encoders import open_text_encoder
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.retrieval.searcher import Searcher
from tests.retrieval.conftest import draw_thing, tiny_clip, write_corpus


def test_manifest_says_what_the_index_is(built):
    manifest = json.loads((Path(built.index) / "image" / "manifest.json").read_text())
    assert manifest["identity"]["encoder"] == "open_clip"
    assert manifest["identity"]["dimension"] == 24
    assert manifest["identity"]["metric"] == "cosine"
    assert manifest["identity"]["factory"] == "Flat"
    assert len(manifest["identity"]["fingerprint"]) == 64
    assert (manifest["count"], manifest["num_documents"]) == (24, 12)
    assert (manifest["exact"], manifest["recall_at_10"]) == (True, 1.0)
    assert manifest["library"].startswith("faiss ")


def test_an_index_that_fits_is_reused(own, caplog):
    before = {path: path.stat().st_mtime_ns for path in Path(own.index).rglob("*")}
    with caplog.at_level(logging.INFO):
        build_indexes(own, progress=False)
    assert {path: path.stat().st_mtime_ns for path in Path(own.index).rglob("*")} == before
    assert caplog.text.count("reusing the index") == 2


def misfit_text_prefix(options, tmp_path):
    return replace(options, text_encoder=replace(options.text_encoder, prefix="query: "))


def misfit_dimension(options, tmp_path):
    return replace(options, text_encoder=replace(options.text_encoder, dimension=128))


def misfit_factory(options, tmp_path):
    return replace(options, factory="HNSW8")


def misfit_weights(options, tmp_path):
    model = tiny_clip()
    state = {name: tensor * 1.01 for name, tensor in model.state_dict().items()}
    convert_clip(state, model.config, tmp_path / "clip")
    image_encoder = replace(options.image_encoder, model=str(tmp_path / "clip"))
    return replace(options, image_encoder=image_encoder)


def misfit_corpus(options, tmp_path):
    path = Path(options.knowledge_base) / "corpus.jsonl"
    path.write_text(path.read_text().replace("painted", "coloured"))
    return options


def misfit_image(options, tmp_path):
    draw_thing("red", "cross", (1, 2, 3)).save(Path(options.knowledge_base) / "images/0_0.png")
    return options


def misfit_text_search(options, tmp_path):
    return replace(options, text_search=TextSearch.bm25)


def truncated_vectors(options, tmp_path):
    path = Path(options.index) / "text" / "vectors.faiss"
    path.write_bytes(path.read_bytes()[:100])
    return options


def flipped_vectors(options, tmp_path):
    path = Path(options.index) / "text" / "vectors.faiss"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    return options


def missing_rows(options, tmp_path):
    (Path(options.index) / "text" / "rows.npy").unlink()
    return options


def corrupt_rows(options, tmp_path):
    np.save(Path(options.index) / "text" / "rows.npy", np.arange(3))
    return options


def corrupt_manifest(options, tmp_path):
    (Path(options.index) / "text" / "manifest.json").write_text('{"encoder":')
    return options


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (misfit_text_prefix, "prefix is '' there, 'query: ' here"),
        (misfit_dimension, "dimension is 256 there, 128 here"),
        (misfit_factory, "factory is 'Flat' there, 'HNSW8' here"),
        (misfit_weights, "image does not fit: fingerprint is '"),
        (misfit_corpus, "corpus_sha256 is '"),
        (misfit_image, "image does not fit: corpus_sha256 is '"),
        (misfit_text_search, "bm25/manifest.json is missing"),
        (truncated_vectors, "text/vectors.faiss has 100 bytes, its manifest says "),
        (flipped_vectors, "text/vectors.faiss is corrupt"),
        (missing_rows, "text lacks rows.npy"),
        (corrupt_rows, "text/rows.npy has 152 bytes, its manifest says 224"),
        (corrupt_manifest, "is not the manifest of an index"),
    ],
)
def test_misfit_is_refused_and_a_new_build_mends_it(change, message, own, tmp_path):
    options = change(own, tmp_path)
    with pytest.raises(ValueError, match=r"rebuild with scripts/build_index\.py") as caught:
        Searcher.open(options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    build_indexes(options, progress=False)
    Searcher.open(options)


def test_a_prefix_is_put_before_every_document(own):
    options = replace(own, text_encoder=replace(own.text_encoder, document_prefix="Umbelloq: "))
    build_indexes(options, progress=False)
    texts = [f"Umbelloq: {document.text}" for document in KnowledgeBase(own.knowledge_base)]
    np.testing.assert_array_equal(
        np.load(Path(own.index) / "vectors/text/00000.npy"),
        open_text_encoder(own.text_encoder).encode_text(texts),
    )
    Searcher.open(options)
    with pytest.raises(ValueError, match="document_prefix is 'Umbelloq: ' there, '' here"):
        Searcher.open(own)


def test_a_manifest_older_than_prefixes_of_documents_has_none(own):
    path = Path(own.index) / "text" / "manifest.json"
    record = json.loads(path.read_text())
    assert record["identity"].pop("document_prefix") == ""
    path.write_text(json.dumps(record))
    Searcher.open(own)
    prefixed = replace(own.text_encoder, document_prefix="passage: ")
    with pytest.raises(ValueError, match="document_prefix is '' there, 'passage: ' here"):
        Searcher.open(replace(own, text_encoder=prefixed))


def test_killed_build_leaves_the_old_index(own, monkeypatch):
    options = misfit_corpus(own, None)
    monkeypatch.setattr("pixsearch.retrieval.building.finishing.write_manifest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_indexes(options, progress=False)
    assert sorted(path.name for path in Path(own.index).iterdir()) == ["image", "text", "vectors"]
    assert (Path(own.index) / "text" / "manifest.json").exists()


def test_approximate_index_is_measured(own):
    manifests = build_indexes(replace(own, factory="HNSW8"), progress=False)
    assert not manifests["image"].exact
    assert 0.8 <= manifests["image"].recall_at_10 <= 1.0


def test_no_images_no_image_index(own):
    write_corpus(Path(own.knowledge_base), [{"id": "a", "contents": "words alone"}])
    assert list(build_indexes(own, progress=False)) == ["text"]


def test_image_that_does_not_decode_is_named(own):
    (Path(own.knowledge_base) / "images/3_1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"3_1\.png \(document e3\) does not decode"):
        build_indexes(own, progress=False)


def test_an_image_encoder_that_does_not_fit_is_told_before_texts_are_encoded(own, tmp_path):
    index = tmp_path / "new"
    wrong = replace(own.image_encoder, dimension=25)
    with pytest.raises(ValueError, match="25"):
        build_indexes(replace(own, index=str(index), image_encoder=wrong), progress=False)
    assert not list(index.rglob("*.npy"))
