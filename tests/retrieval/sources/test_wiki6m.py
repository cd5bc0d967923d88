import json

import pytest

from pixsearch.retrieval.sources.article import Article
from pixsearch.retrieval.sources.wiki6m import read_wiki6m

from .wiki6m_files import article, write_wiki6m


@pytest.mark.parametrize("name", ["Wiki6M_ver_1_0.jsonl.gz", "Wiki6M_ver_1_0.jsonl"])
def test_reads_the_official_layout(tmp_path, name):
    records = [article(7, url="https://example.org/7.jpg"), article(8)]
    first, second = read_wiki6m(write_wiki6m(tmp_path / name, records))
    assert first == Article(
        id="Q7",
        title="Article 7",
        text=records[0]["wikipedia_content"],
        image_url="https://example.org/7.jpg",
    )
    assert second.image_url is None


@pytest.mark.parametrize("nothing", ["", None, " \n"])
def test_what_an_article_lacks(tmp_path, nothing):
    lacking = article(1, url=nothing, wikipedia_content=nothing)
    empty = article(2, wikipedia_content=nothing, wikipedia_summary=nothing)
    del empty["wikipedia_image_url"]
    first, second = read_wiki6m(write_wiki6m(tmp_path / "w.jsonl", [lacking, empty]))
    assert (first.text, first.image_url) == (lacking["wikipedia_summary"], None)
    assert (second.text, second.image_url) == ("", None)


TITLE_ONLY = {"wikidata_id": "Q1", "wikipedia_title": "One", "wikipedia_image_url": None}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"wikidata_id": ', "Expecting value"),
        (json.dumps(TITLE_ONLY), "wikipedia_content is missing"),
        (json.dumps(article(1, wikidata_id=17)), "wikidata_id is 17"),
        (json.dumps(article(1, wikipedia_title=" ")), "wikipedia_title is ' '"),
        (json.dumps(article(1, url=3)), "wikipedia_image_url is 3"),
        ("[1]", "not an object"),
        ("\udcff", "invalid start byte"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, reason):
    path = write_wiki6m(tmp_path / "w.jsonl", [article(1)])
    with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"w\.jsonl:2: .*expected Wiki6M_ver_1_0") as caught:
        list(read_wiki6m(path))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_is_named(tmp_path):
    path = write_wiki6m(tmp_path / "w.jsonl.gz", [article(number) for number in range(200)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"w\.jsonl\.gz is cut off or corrupt .* fetch it again"):
        list(read_wiki6m(path))


def test_a_corrupt_file_is_named(tmp_path):
    path = write_wiki6m(tmp_path / "w.jsonl.gz", [article(number) for number in range(200)])
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(ValueError, match=r"w\.jsonl\.gz.*(fetch it again|expected Wiki6M)"):
        list(read_wiki6m(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"w\.jsonl is missing: data/README\.md"):
        list(read_wiki6m(tmp_path / "w.jsonl"))


def test_lines_are_read_as_they_are_asked_for(tmp_path):
    path = write_wiki6m(tmp_path / "w.jsonl", [article(1)])
    with path.open("a") as file:
        file.write("broken\n")
    assert next(read_wiki6m(path)).id == "Q1"
