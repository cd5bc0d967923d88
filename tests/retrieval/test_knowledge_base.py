import pytest

from pixsearch.queries import Passage
from pixsearch.retrieval.hits import Hit
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from tests.retrieval.conftest import write_corpus
from tests.retrieval.sources.image_server import picture
from tests.retrieval.sources.test_image_files import bomb, talkative

RECORDS = [
    {"id": "b", "title": "Bé", "contents": "Second letter. ✓", "images": ["images/b.png"]},
    {"id": "a", "contents": "First letter."},
]


def test_ids_rows_and_passages(tmp_path):
    knowledge_base = KnowledgeBase(write_corpus(tmp_path, RECORDS))
    assert len(knowledge_base) == 2
    assert [document.id for document in knowledge_base] == ["b", "a"]
    assert knowledge_base["b"].images == ("images/b.png",)
    assert "a" in knowledge_base
    assert "c" not in knowledge_base
    assert knowledge_base.document(1).title == ""
    expected = Passage(id="b", title="Bé", text="Second letter. ✓", score=0.5)
    found = knowledge_base.passages([[Hit(row=0, score=0.5)], [], [Hit(row=0, score=0.5)]])
    assert found == [[expected], [], [expected]]
    with pytest.raises(KeyError, match="no document 'c'"):
        knowledge_base["c"]


def test_blank_lines_and_a_missing_last_newline_do_no_harm(tmp_path):
    write_corpus(tmp_path, RECORDS)
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n" + path.read_text().replace("\n", "\n\n").rstrip())
    assert KnowledgeBase(tmp_path)["a"].contents == "First letter."


def test_a_byte_order_mark_is_no_part_of_the_first_document(tmp_path):
    path = write_corpus(tmp_path, RECORDS) / "corpus.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    hits = [Hit(row=row, score=1.0) for row in (1, 0)]
    assert [one.id for one in KnowledgeBase(tmp_path).passages([hits])[0]] == ["a", "b"]


def test_a_pair_of_surrogates_is_a_character(tmp_path):
    path = write_corpus(tmp_path, RECORDS) / "corpus.jsonl"
    with path.open("a") as file:
        file.write(r'{"id": "c", "contents": "\ud83d\ude80"}' + "\n")
    assert KnowledgeBase(tmp_path)["c"].contents == "\U0001f680"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "c", "contents": ', "Expecting value"),
        ('{"id": "c"}', "contents is missing"),
        ('{"id": 3, "contents": "x"}', "id is 3, not a text"),
        ('{"id": "c", "contents": " "}', "contents is ' ', not a text"),
        ('{"id": "c", "title": null, "contents": "x"}', "title is None, not a text"),
        (
            '{"id": "c", "contents": "x", "images": "c.png"}',
            "images is 'c.png', not a list of paths",
        ),
        ("[1, 2]", "a line is"),
        ("\udcff", "a line is"),
        ('\ufeff{"id": "c", "contents": "x"}', "Unexpected UTF-8 BOM"),
        (r'{"id": "c", "contents": "x \ud83d"}', r"\ud83d is half of a character"),
        (r'{"id": "\uDE80", "contents": "x"}', r"\ude80 is half of a character"),
    ],
)
def test_broken_line_is_named(line, reason, tmp_path):
    path = write_corpus(tmp_path, RECORDS) / "corpus.jsonl"
    with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"corpus\.jsonl:3: ") as caught:
        KnowledgeBase(tmp_path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_duplicate_id_is_named_with_its_lines(tmp_path):
    write_corpus(tmp_path, [*RECORDS, {"id": "b", "contents": "Again."}])
    with pytest.raises(ValueError, match="lines 1 and 3 both have the id 'b'"):
        KnowledgeBase(tmp_path)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_corpus_is_an_error(text, tmp_path):
    (tmp_path / "corpus.jsonl").write_text(text)
    with pytest.raises(ValueError, match="is empty"):
        KnowledgeBase(tmp_path)


def test_missing_corpus_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"corpus\.jsonl is missing"):
        KnowledgeBase(tmp_path)


def test_missing_and_broken_image_are_named(tmp_path):
    knowledge_base = KnowledgeBase(write_corpus(tmp_path, RECORDS))
    document = knowledge_base["b"]
    with pytest.raises(ValueError, match=r"b\.png \(document b\) is missing"):
        knowledge_base.images_sha256()
    (tmp_path / "images").mkdir()
    for content in (b"no image", picture(1, side=64)[:3000], talkative(), bomb()):
        (tmp_path / "images/b.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.png \(document b\) does not decode \(.*replace"):
            knowledge_base.image(document, document.images[0])
