"""The reranker with a tiny cross-encoder, made and saved by the libraries themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from pixsearch.config import RerankerOptions
from pixsearch.queries import Passage
from pixsearch.retrieval.opening import layers, open_searcher
from pixsearch.retrieval.reranker import Reranker
from pixsearch.retrieval.searcher import Searcher
from pixsearch.retrieval.server.serve import reranker_of
from pixsearch.retrieval.wire import document_of, words_of
from tests.retrieval.tiny import VIT, write_plain_text_model

PASSAGES = [
    Passage(id="a", title="", text="the red disc"),
    Passage(id="b", title="", text="a blue box"),
    Passage(id="c", title="", text="the red disc"),
]


def write_cross_encoder(folder, *, num_labels=1, scale=1.0):
    """BERT with a head on top; its tokenizer is that of the tiny text encoder."""
    write_plain_text_model(folder)
    vocabulary = len((folder / "vocab.txt").read_text().splitlines())
    torch.manual_seed(0)
    config = BertConfig(
        **{**VIT, "vocab_size": vocabulary, "max_position_embeddings": 32, "num_labels": num_labels}
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(50 * scale)
    model.save_pretrained(folder)
    return RerankerOptions(model=str(folder))


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    return write_cross_encoder(tmp_path_factory.mktemp("cross") / "encoder")


@pytest.fixture(scope="module")
def reranker(options):
    return Reranker(options)


def test_scores_are_those_of_the_model(reranker, options):
    """Logits of transformers' own class, not the library's sigmoid."""
    texts = [f"{one.title}\n{one.text}" for one in PASSAGES]
    scores = reranker.scores("red disc", texts)
    model = BertForSequenceClassification.from_pretrained(options.model).eval()
    tokens = reranker._model.tokenizer(["red disc"] * 3, texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**tokens).logits[:, 0].numpy()
    np.testing.assert_allclose(scores, expected, atol=2e-5)
    assert len(set(scores)) == 2


def test_best_first_equal_ones_in_their_order(reranker):
    found = reranker.rerank(["red disc", "box"], [PASSAGES, PASSAGES[:1]], 3)
    texts = [f"\n{passage.text}" for passage in PASSAGES]
    scores = dict(zip("abc", reranker.scores("red disc", texts).tolist(), strict=True))
    assert {one.id: one.score for one in found[0]} == scores
    assert [one.score for one in found[0]] == sorted(scores.values(), reverse=True)
    order = [one.id for one in found[0]]
    assert order.index("a") < order.index("c")
    assert [one.id for one in found[1]] == ["a"]
    assert len(reranker.rerank(["red disc"], [PASSAGES], 2)[0]) == 2


def test_a_query_is_scored_alike_alone_and_among_others(reranker):
    queries = ["red disc", "what is the blue box made of ?"]
    together = reranker.rerank(queries, [PASSAGES, PASSAGES], 3)
    alone = [reranker.rerank([query], [PASSAGES], 3)[0] for query in queries]
    assert together == alone


@pytest.mark.parametrize("title", ["Disc", ""])
def test_a_document_of_the_wire_is_read_as_the_passage_is(reranker, title):
    """`/rerank` and `/retrieve` give a passage the same score."""
    passage = replace(PASSAGES[0], title=title)
    scores = reranker.scores("red disc", [words_of(document_of(passage))])
    ((found,),) = reranker.rerank(["red disc"], [[passage]], 1)
    assert scores.tolist() == [found.score]


def test_nothing_to_rerank(reranker):
    assert reranker.rerank([], [], 3) == []
    assert reranker.rerank(["red"], [[]], 3) == [[]]


def test_fingerprints_follow_the_weights(reranker, options, tmp_path):
    assert Reranker(options).fingerprint == reranker.fingerprint
    other = Reranker(write_cross_encoder(tmp_path / "other", scale=1.01))
    assert other.fingerprint != reranker.fingerprint


def test_what_is_no_reranker_is_refused(options, tmp_path):
    for model, message in (
        (str(tmp_path / "nowhere"), "no cross-encoder can be loaded"),
        (str(write_plain_text_model(tmp_path / "plain")), "its weights are missing"),
        (write_cross_encoder(tmp_path / "three", num_labels=3).model, "it gives 3 scores per pair"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            Reranker(replace(options, model=model))
        assert "\n" not in str(caught.value)


def test_scores_that_are_not_finite_are_refused(reranker, monkeypatch):
    monkeypatch.setattr(reranker._model.model.classifier.bias, "data", torch.tensor([torch.nan]))
    with pytest.raises(ValueError, match="not finite"):
        reranker.scores("red", ["disc"])


def test_a_server_shares_the_reranker_of_its_searcher(built, options, tmp_path):
    """One model in memory for `/retrieve` and `/rerank`, also behind a cache and a recording."""
    reranking = replace(built, reranker=options)
    around = {"cache_entries": 9, "recording": str(tmp_path / "recording.jsonl")}
    for changes in ({}, around):
        searcher = open_searcher(replace(reranking, **changes))
        *_, innermost = layers(searcher)
        assert reranker_of(searcher, options=built) is innermost.reranker
    alone = reranker_of(Searcher.open(built), options=replace(built, reranker=options))
    assert isinstance(alone, Reranker)
