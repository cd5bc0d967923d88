"""Corpora in the layouts their projects publish, made small."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset, Features, Image, Value
from PIL import Image as PillowImage

from pixsearch.config import ImportCorpusOptions
from pixsearch.retrieval import importing
from pixsearch.retrieval.corpora import READERS, CorpusDocument, json_object
from pixsearch.retrieval.importing import import_corpus
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from tests.retrieval.sources.image_server import picture
from tests.retrieval.sources.test_image_files import bomb, talkative

ARTICLES = {
    "https://en.wikipedia.org/wiki/Vexlin": {
        "title": "Vexlin",
        "section_titles": ["Vexlin", "History", "References"],
        "section_texts": ['The Vexlin is a "disc".\n', "Made in 1900 by Zoë {née Å}. 🚀", " "],
        "image_urls": ["https://upload.example/1.jpg"],
        "image_reference_descriptions": ["a [disc]"],
        "image_section_indices": [0],
        "url": "https://en.wikipedia.org/wiki/Vexlin",
    },
    "https://en.wikipedia.org/wiki/Orbander": {
        "title": "Orbander",
        "section_titles": ["Orbander"],
        "section_texts": ["A box."],
        "image_urls": [],
        "image_reference_descriptions": [],
        "image_section_indices": [],
        "url": "https://en.wikipedia.org/wiki/Orbander",
    },
}  # fmt: skip
FROM_ARTICLES = [
    CorpusDocument(
        id="https://en.wikipedia.org/wiki/Vexlin",
        title="Vexlin",
        contents='The Vexlin is a "disc".\n\nHistory\nMade in 1900 by Zoë {née Å}. 🚀',
    ),
    CorpusDocument(
        id="https://en.wikipedia.org/wiki/Orbander", title="Orbander", contents="A box."
    ),
]


def write_lines(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(reader: str, path: Path) -> list[CorpusDocument]:
    return list(READERS[reader](path))


def png(colour: int) -> bytes:
    file = io.BytesIO()
    PillowImage.new("RGB", (9, 7), (colour, 20, 30)).save(file, format="PNG")
    return file.getvalue()


def test_search_r1_and_flashrag_lines(tmp_path):
    path = write_lines(
        tmp_path / "wiki-18.jsonl",
        {"id": "0", "contents": '"Anarchism"\nAnarchism is a philosophy.\nIt "is".'},
        {"id": 1, "title": "Aaron", "text": "A prophet."},
        {"id": "2", "contents": "No title here\nat all."},
        {"id": "3", "title": "Own", "contents": "words"},
    )
    assert [(each.id, each.title, each.contents) for each in read("json_lines", path)] == [
        ("0", "Anarchism", 'Anarchism is a philosophy.\nIt "is".'),
        ("1", "Aaron", "A prophet."),
        ("2", "", "No title here\nat all."),
        ("3", "Own", "words"),
    ]


TITLED = [
    # FlashRAG: `contents` is made of the other two
    ({"title": "Aaron", "text": "A prophet.", "contents": "Aaron\nA prophet."}, "A prophet."),
    ({"title": "Aaron", "contents": "Aaron\nA prophet."}, "A prophet."),
    ({"title": "Aaron", "contents": '"Aaron"\nA prophet.'}, "A prophet."),
    ({"title": 'An "a" b', "contents": '"An ""a"" b"\nA letter.'}, "A letter."),
    ({"title": "Aaron", "contents": '"Lead us."\nSo they said.'}, '"Lead us."\nSo they said.'),
    ({"title": "Aaron", "contents": "Aaron"}, "Aaron"),
    ({"contents": '"Aaron"\nA prophet.'}, "A prophet."),
]


@pytest.mark.parametrize(("fields", "text"), TITLED)
def test_a_title_is_no_part_of_the_text(fields, text, tmp_path):
    record = {"id": "0"} | fields
    lines = write_lines(tmp_path / "wiki.jsonl", record)
    table = tmp_path / "wiki.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([record]), table)
    expected = CorpusDocument(id="0", title=fields.get("title", "Aaron"), contents=text)
    assert read("json_lines", lines) == read("parquet", table) == [expected]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"corpus\.jsonl:2: no JSON"),
        ("[1]", r"corpus\.jsonl:2: a list, not an object"),
        ('{"id": "a", "title": "b"}', r"corpus\.jsonl:2: text is None, not a text"),
        ('{"id": true, "contents": "b"}', r"corpus\.jsonl:2: id is True, neither"),
        ('{"id": "a", "contents": 3}', r"corpus\.jsonl:2: contents is 3, not a text"),
    ],
)
def test_a_line_that_is_no_document_is_named(line, message, tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "0", "contents": "fine"}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        read("json_lines", path)


def test_wiki6m_plain_and_gzip(tmp_path):
    articles = [
        {
            "wikidata_id": "Q1",
            "wikipedia_title": "Vexlin",
            "wikipedia_content": "The whole article.",
            "wikipedia_summary": "Its lead.",
            "wikipedia_image_url": "https://upload.example/1.jpg",
        },
        {
            "wikidata_id": "Q2",
            "wikipedia_title": "B",
            "wikipedia_content": None,
            "wikipedia_summary": "A lead alone.",
        },
        {"wikidata_id": "Q3", "wikipedia_title": "C", "wikipedia_content": None},
    ]
    plain = write_lines(tmp_path / "Wiki6M_ver_1_0.jsonl", *articles)
    packed = tmp_path / "Wiki6M_ver_1_0.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    found = read("wiki6m", plain)
    assert [(each.id, each.title, each.contents) for each in found] == [
        ("Q1", "Vexlin", "The whole article."),
        ("Q2", "B", "A lead alone."),
        ("Q3", "C", ""),
    ]
    assert read("wiki6m", packed) == found
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"jsonl\.gz is cut off or corrupt"):
        read("wiki6m", packed)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_encyclopedic_vqa_in_any_pieces(chunk, indent, tmp_path, monkeypatch):
    monkeypatch.setattr(json_object, "CHUNK", chunk)
    path = tmp_path / "encyclopedic_kb_wiki.json"
    path.write_text(json.dumps(ARTICLES, indent=indent))
    assert read("encyclopedic_vqa", path) == FROM_ARTICLES
    archive = tmp_path / "encyclopedic_kb_wiki.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(path, path.name)
    assert read("encyclopedic_vqa", archive) == FROM_ARTICLES


def test_encyclopedic_vqa_holds_one_article_at_a_time(tmp_path):
    """The buffer does not grow with the file: an article is yielded before the next is read."""
    path = tmp_path / "encyclopedic_kb_wiki.json"
    article = {"title": "T", "section_titles": ["T"], "section_texts": ["x" * 300_000]}
    path.write_text(json.dumps({f"url{number}": article for number in range(30)}))
    with path.open() as file:
        members = json_object.read_members(file, path)
        for _ in range(5):
            next(members)
        assert file.buffer.tell() < 4 * json_object.CHUNK


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-40], "cut off or broken"),
        (lambda text: text + "x", "'x' behind its end"),
        (lambda text: text.replace('"title": "Orbander"', '"title": Orbander'), "behind 1 members"),
        (lambda text: "[1]", "'{' should be where '\\['"),
        (lambda text: "", "'{' should be where ''"),
        (lambda text: '{"url": 3}', "should be where '3'"),
        (lambda text: '{"url": {"title": "a"}}', "no lists of equal length"),
    ],
)
def test_encyclopedic_vqa_that_is_broken(change, message, tmp_path):
    path = tmp_path / "kb.json"
    path.write_text(change(json.dumps(ARTICLES)))
    with pytest.raises(ValueError, match=message):
        read("encyclopedic_vqa", path)


LOCAL_HEADER = 30  # bytes before the name of a member of a zip
SIZE = 768  # blanks behind the JSON make it so: the place of what follows is written in ASCII


def write_zip(path: Path, compression: int) -> bytearray:
    """Encyclopedic-VQA's archive, to be broken."""
    member = zipfile.ZipInfo("kb.json")
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(member, json.dumps(ARTICLES).ljust(SIZE), compression)
    return bytearray(path.read_bytes())


def test_an_archive_with_a_flipped_byte_is_named(tmp_path):
    path = tmp_path / "kb.zip"
    packed = write_zip(path, zipfile.ZIP_DEFLATED)
    packed[LOCAL_HEADER + len("kb.json")] = 0xFF  # a kind of block that deflate does not have
    path.write_bytes(packed)
    with pytest.raises(ValueError, match=r"kb\.zip: .*block type; fetch the file again"):
        read("encyclopedic_vqa", path)


def test_an_archive_that_ends_before_its_member_is_named(tmp_path):
    path = tmp_path / "kb.zip"
    packed = write_zip(path, zipfile.ZIP_STORED)
    entry = packed.index(b"PK\x01\x02")
    packed[entry + 16 : entry + 20] = bytes(4)  # its sum and its rights: all that follows is ASCII
    packed[entry + 38 : entry + 42] = bytes(4)
    packed[entry + 20 : entry + 28] = b"\x00\x00\x7f\x00" * 2  # sizes beyond the file's end
    path.write_bytes(packed)
    with pytest.raises(ValueError, match=r"kb\.zip: the archive ends too early; fetch the file"):
        read("encyclopedic_vqa", path)


def write_images(path: Path, num: int = 3) -> Path:
    """As `datasets` writes a column of images."""
    rows = {
        "id": [f"p{row}" for row in range(num)],
        "title": [f"Picture {row}" for row in range(num)],
        "text": ["words"] * num,
        "image": [{"bytes": png(row), "path": f"{row}.png"} for row in range(num)],
    }
    kinds = {"id": Value("string"), "title": Value("string"), "text": Value("string")}
    Dataset.from_dict(rows, Features({**kinds, "image": Image()})).to_parquet(path, batch_size=2)
    return path


def test_parquet_with_images(tmp_path):
    write_images(tmp_path / "train-00000-of-00002.parquet")
    table = {"id": [7], "contents": ["two"], "images": [[{"bytes": png(1)}, {"bytes": png(2)}]]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "train-00001-of-00002.parquet")
    found = read("parquet", tmp_path)
    assert [each.id for each in found] == ["p0", "p1", "p2", "7"]
    assert found[1] == CorpusDocument(
        id="p1", title="Picture 1", contents="words", images=(png(1),)
    )
    assert found[3].images == (png(1), png(2))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": ["a"]}, "has the columns name: id and contents"),
        ({"id": ["a"], "text": [None]}, "row 1: text is None"),
        ({"id": ["a"], "text": ["b"], "image": [{"path": "x.png"}]}, "row 1: its image is not"),
    ],
)
def test_parquet_that_is_no_corpus(table, message, tmp_path):
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        read("parquet", tmp_path / "a.parquet")


def test_parquet_that_is_cut_off(tmp_path):
    path = write_images(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"a\.parquet: .*fetch the file again"):
        read("parquet", path)


@pytest.mark.parametrize("reader", READERS)
def test_a_source_that_is_missing(reader, tmp_path):
    with pytest.raises(ValueError, match=r"no such file|is missing"):
        read(reader, tmp_path / "missing.jsonl")


def options_of(tmp_path: Path, source: Path, reader: str) -> ImportCorpusOptions:
    folder = str(tmp_path / "knowledge_base")
    return ImportCorpusOptions(reader=reader, source=str(source), knowledge_base=folder)


def test_imported_documents_and_images_are_a_knowledge_base(tmp_path):
    options = options_of(tmp_path, write_images(tmp_path / "a.parquet"), "parquet")
    assert import_corpus(options, progress=False) == 3
    knowledge_base = KnowledgeBase(options.knowledge_base)
    document = knowledge_base["p2"]
    assert (document.title, document.contents) == ("Picture 2", "words")
    image = knowledge_base.image(document, document.images[0])
    assert np.asarray(image)[0, 0].tolist() == [2, 20, 30]
    assert import_corpus(options, progress=False) == 3  # nothing is left to do


class Killed(BaseException):
    """Ends an import as a kill does: nothing that follows is run."""


def test_a_killed_import_goes_on_and_ends_in_the_same_bytes(tmp_path, monkeypatch):
    source = write_images(tmp_path / "a.parquet", num=5)
    whole = options_of(tmp_path / "whole", source, "parquet")
    import_corpus(whole, progress=False)
    options = options_of(tmp_path, source, "parquet")
    original = READERS["parquet"]

    def killed(path):
        for number, document in enumerate(original(path)):
            if number == 3:
                raise Killed
            yield document

    monkeypatch.setitem(READERS, "parquet", killed)
    with pytest.raises(Killed):
        import_corpus(options, progress=False)
    monkeypatch.setitem(READERS, "parquet", original)
    folder = Path(options.knowledge_base)
    partial = folder / "corpus.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-20])  # the last line was not yet written as a whole
    assert not (folder / "corpus.jsonl").exists()
    import_corpus(options, progress=False)
    assert all_files(folder) == all_files(Path(whole.knowledge_base))


def all_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_cannot_be_taken_is_listed(tmp_path):
    table = {
        "id": ["a", "b"],
        "text": [" ", "words"],
        "images": [[{"bytes": png(0)}], [{"bytes": b"no image"}, {"bytes": png(1)}]],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    options = options_of(tmp_path, tmp_path / "a.parquet", "parquet")
    assert import_corpus(options, progress=False) == 1
    left_out = (Path(options.knowledge_base) / "left_out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in left_out] == [
        {"id": "a", "reason": "document without a word"},
        {"id": "b", "reason": "image that is none"},
    ]
    assert len(KnowledgeBase(options.knowledge_base)["b"].images) == 1


def test_an_image_is_imported_only_if_all_of_it_decodes(tmp_path):
    """What would end the build of an index days later is left out at once."""
    eps = io.BytesIO()
    PillowImage.new("L", (9, 7)).save(eps, format="EPS")  # reading it would start Ghostscript
    broken = [picture(1, side=64)[:3000], talkative(), bomb(), eps.getvalue()]
    table = {"id": ["a"], "text": ["words"], "images": [[*broken, png(1)]]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    options = options_of(tmp_path, tmp_path / "a.parquet", "parquet")
    import_corpus(options, progress=False)
    folder = Path(options.knowledge_base)
    assert len((folder / "left_out.jsonl").read_text().splitlines()) == len(broken)
    knowledge_base = KnowledgeBase(folder)
    (name,) = knowledge_base["a"].images
    assert knowledge_base.image(knowledge_base["a"], name).size == (9, 7)


def test_a_source_without_a_document(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", {"id": "a", "contents": " "})
    with pytest.raises(ValueError, match="no document that could be taken"):
        import_corpus(options_of(tmp_path, source, "json_lines"), progress=False)


def test_imports_do_not_mix(tmp_path):
    first = write_lines(tmp_path / "a.jsonl", {"id": "a", "contents": "one"})
    second = write_lines(tmp_path / "b.jsonl", {"id": "b", "contents": "two"})
    import_corpus(options_of(tmp_path, first, "json_lines"), progress=False)
    with pytest.raises(ValueError, match="is of another import"):
        import_corpus(options_of(tmp_path, second, "json_lines"), progress=False)
    (tmp_path / "knowledge_base" / importing.NOTE).unlink()
    with pytest.raises(ValueError, match="holds a corpus that was not imported"):
        import_corpus(options_of(tmp_path, second, "json_lines"), progress=False)


def test_an_unknown_reader(tmp_path):
    with pytest.raises(ValueError, match="reader='beir' is unknown: choose from json_lines"):
        import_corpus(options_of(tmp_path, tmp_path, "beir"), progress=False)
