import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.datasets.questions import QUESTION_READERS, records
from pixsearch.datasets.questions.records import KeyedLines, hash_ids, repeated_ids
from tests.datasets.builders import briefly
from tests.datasets.questions.make_fixtures import FIXTURES

IDS = st.lists(st.sampled_from("abcdef"), max_size=12)


def write(path: Path, ids: list[str]) -> Path:
    path.write_text("".join(f'{{"n": {row}, "id": "{id}"}}\n' for row, id in enumerate(ids)))
    return path


@briefly
@given(ids=IDS)
def test_lines_are_found_by_their_id(tmp_path_factory: pytest.TempPathFactory, ids) -> None:
    lines = KeyedLines(write(tmp_path_factory.mktemp("lines") / "x.jsonl", ids), "id")
    assert lines.repeated() == repeated_ids(ids)
    for row, id in enumerate(ids):
        assert lines.find(id, near=row)["n"] == row
        assert lines.find(id, near=len(ids))["n"] == ids.index(id)
    with pytest.raises(ValueError, match=r"x\.jsonl: no line with the id 'z'"):
        lines.find("z", near=0)


def test_ids_whose_hashes_agree_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "crc32", lambda id: 7)
    lines = KeyedLines(write(tmp_path / "x.jsonl", ["a", "b", "a", "c"]), "id")
    assert lines.repeated() == {2: 0}
    assert lines.find("c", near=0)["n"] == 3


def test_hashes_do_not_hang_on_the_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.jsonl", ["a", "b", "a", "c"])
    path.write_text(path.read_text() + 'no json\n\n{"id": "e"}')
    whole = hash_ids(path, "id").tolist()
    assert len(whole) == len(KeyedLines(path, "id")) == 7
    assert whole[0] == whole[2]
    assert whole[4] == whole[5] == 0
    monkeypatch.setattr(records, "_CHUNK_BYTES", 10)
    assert hash_ids(path, "id").tolist() == whole


def test_an_id_is_found_wherever_it_stands_in_its_line(tmp_path: Path) -> None:
    """Not one of what the line holds, and however its letters are spelled."""
    records = [
        {"evidence": [{"id": "1"}], "id": "é"},
        {"evidence": [{"id": "2"}], "id": "é"},
        {"id": "é", "evidence": []},
    ]
    path = tmp_path / "x.jsonl"
    spelled = [json.dumps(each, ensure_ascii=row != 1) for row, each in enumerate(records)]
    path.write_text("".join(f"{line}\n" for line in spelled))
    lines = KeyedLines(path, "id")
    assert lines.repeated() == {1: 0, 2: 0}
    assert lines.find("é", near=9) == records[0]


@pytest.mark.parametrize(
    ("name", "split", "file", "change"),
    [
        ("webqa", "train", "WebQA_train_val.json", ("Q", None)),
        ("webqa", "train", "WebQA_train_val.json", ("img_posFacts", [{"title": "no image_id"}])),
        ("oven", "entity_train", "oven_entity_train.jsonl", ("data_id", 7)),
        ("infoseek", "train", "infoseek_train.jsonl", ("data_id", 7)),
        ("infoseek", "train", "infoseek_train.jsonl", ("question", 7)),
        ("oven", "entity_train", "oven_entity_train.jsonl", ("image_id", 7)),
    ],
)
def test_a_value_of_another_kind_is_an_error_of_its_record(tmp_path, name, split, file, change):
    shutil.copytree(FIXTURES / name, tmp_path / name)
    path, (field, value) = tmp_path / name / file, change
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        content[next(key for key in content if content[key]["split"] == split)][field] = value
        path.write_text(json.dumps(content))
    else:
        first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([json.dumps({**json.loads(first), field: value}), *rest]) + "\n")
    questions = QUESTION_READERS[name](tmp_path / name, split)
    with pytest.raises(ValueError, match=rf"{re.escape(file)}.*(not text|official form|image_id)"):
        questions[0]
