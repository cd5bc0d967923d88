import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Features, Value, load_dataset
from datasets import Image as ImageFeature
from PIL import Image

from pixsearch.datasets import crag_mm
from pixsearch.datasets.crag_mm import MOVED_IMAGES, CragMMQuestion, cached_image, load_turns
from pixsearch.datasets.crag_mm_writer import (
    LABEL_NAMES,
    CragMMSession,
    official_features,
    write_crag_mm,
)
from tests.datasets.builders import save_image

URL = "https://upload.example.org/wiki/Cup.jpg?width=10"


def png(colour: str) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, "PNG")
    return buffer.getvalue()


def question(id: str, **changes: Any) -> CragMMQuestion:
    fields = {
        "question": f"question {id}?",
        "answer": f"answer {id}",
        "domain": "food",
        "query_category": "multi-hop",
        "dynamism": "static",
        "image_quality": "normal",
    }
    return CragMMQuestion(interaction_id=id, **(fields | changes))


def sessions() -> list[CragMMSession]:
    second = question("a1", domain="book", image_quality="blurred", answer="")
    return [
        CragMMSession(session_id="a", turns=(question("a0"), second), image=png("red")),
        CragMMSession(session_id="b", turns=(question("b0"),), image_url="scenes/b.png"),
        CragMMSession(session_id="c", turns=(question("c0"),), image_url=URL),
        CragMMSession(session_id="d", turns=(question("d0"),), image_url=""),
        CragMMSession(session_id="e", turns=(question("e0"),), image=png("blue"), image_url=""),
    ]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert write_crag_mm(sessions(), tmp_path / "validation.parquet") == 5
    turns = load_turns(tmp_path, "validation")
    assert [turn.interaction_id for turn in turns] == ["a0", "a1", "b0", "c0", "d0", "e0"]
    assert [turn.turn_index for turn in turns] == [0, 1, 0, 0, 0, 0]
    assert [turn.is_egocentric for turn in turns] == [True, True, False, False, False, True]
    second = turns[1]
    assert (second.session_id, second.question, second.answer) == ("a", "question a1?", "")
    assert (second.domain, second.query_category, second.dynamism, second.image_quality) == (
        "book",
        "multi-hop",
        "static",
        "blurred",
    )


def test_images_are_embedded_beside_the_file_or_absent(tmp_path: Path) -> None:
    save_image(tmp_path / "scenes" / "b.png")
    write_crag_mm(sessions(), tmp_path / "validation.parquet")
    turns = {turn.interaction_id: turn for turn in load_turns(tmp_path, "validation")}
    assert turns["a0"].load_image().getpixel((0, 0)) == (255, 0, 0)
    assert turns["e0"].load_image().getpixel((0, 0)) == (0, 0, 255)
    assert turns["b0"].load_image().size == (32, 24)
    assert turns["a0"].image_id == turns["a1"].image_id != turns["e0"].image_id
    assert turns["b0"].image_id == str(tmp_path / "scenes" / "b.png")
    assert (turns["d0"].image_id, turns["d0"].load_image) == (None, None)


def test_a_download_is_taken_from_the_cache_folder(tmp_path: Path) -> None:
    write_crag_mm(sessions(), tmp_path / "validation.parquet")
    turn = next(t for t in load_turns(tmp_path, "validation") if t.interaction_id == "c0")
    with pytest.raises(ValueError, match=r"\.jpg: missing image of example 'c'; download https"):
        turn.load_image()
    save_image(cached_image(tmp_path, URL))
    assert turn.load_image().size == (32, 24)


def test_an_image_that_is_gone_from_its_address_is_looked_for_at_the_official_loaders(
    tmp_path: Path,
) -> None:
    ((name, moved),) = MOVED_IMAGES.items()
    gone = CragMMSession(session_id=name, turns=(question("g0"),), image_url=URL)
    write_crag_mm([gone], tmp_path / "public_test.parquet")
    (turn,) = load_turns(tmp_path, "public_test")
    assert not turn.is_egocentric
    with pytest.raises(ValueError, match=r"download https://web\.archive\.org/.*\(82\)\.jpg to it"):
        turn.load_image()
    save_image(cached_image(tmp_path, moved))
    assert turn.load_image().size == (32, 24)


def test_sessions_are_read_as_conversations(tmp_path: Path) -> None:
    write_crag_mm(sessions(), tmp_path / "data" / "validation-00000-of-00001.parquet")
    examples = crag_mm.load(tmp_path, "validation")
    assert [example.id for example in examples] == ["a", "b", "c", "d", "e"]
    assert len(examples[0].conversation.messages) == 4
    assert not examples[3].conversation.has_image


def test_hugging_face_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "validation.parquet"
    write_crag_mm(sessions()[:2], path)
    read = load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert read.features == official_features()
    assert read[0]["image"].size == (8, 6)
    assert read[0]["turns"]["domain"] == [9, 3]
    assert read[1]["image"] is None


def rows_of(features: Features, rows: Sequence[dict[str, Any]], path: Path) -> None:
    table = pyarrow.Table.from_pylist(list(rows), schema=features.arrow_schema)
    pyarrow.parquet.write_table(table, path)


def v011_features(domains: Sequence[str]) -> Features:
    labels = {column: ClassLabel(names=list(LABEL_NAMES[column])) for column in LABEL_NAMES}
    return Features(
        {
            "session_id": Value("string"),
            "image": ImageFeature(),
            "image_url": Value("string"),
            "image_quality": labels["image_quality"],
            "turns": [
                {
                    "interaction_id": Value("string"),
                    "domain": ClassLabel(names=list(domains)),
                    "query_category": labels["query_category"],
                    "dynamism": labels["dynamism"],
                    "query": Value("string"),
                }
            ],
            "answers": [{"interaction_id": Value("string"), "ans_full": Value("string")}],
        }
    )


V011_ROW = {
    "session_id": "s",
    "image": {"bytes": png("red"), "path": None},
    "image_url": None,
    "image_quality": 3,
    "turns": [
        {"interaction_id": "s0", "domain": 1, "query_category": 0, "dynamism": 1, "query": "q0"},
        {"interaction_id": "s1", "domain": 0, "query_category": 0, "dynamism": 1, "query": "q1"},
    ],
    "answers": [  # in another order than the turns
        {"interaction_id": "s1", "ans_full": "a1"},
        {"interaction_id": "s0", "ans_full": "a0"},
    ],
}


@pytest.mark.parametrize("domains", [("animal", "book"), ("book", "animal")])
def test_v011_is_read_and_ids_are_decoded_through_the_features(
    tmp_path: Path, domains: tuple[str, str]
) -> None:
    rows_of(v011_features(domains), [V011_ROW], tmp_path / "validation.parquet")
    turns = load_turns(tmp_path, "validation")
    assert [turn.domain for turn in turns] == [domains[1], domains[0]]
    assert [turn.answer for turn in turns] == ["a0", "a1"]
    assert [turn.image_quality for turn in turns] == ["low light", "low light"]
    assert all(turn.is_egocentric for turn in turns)


@pytest.mark.parametrize("id", [2, 13, -2])
def test_an_id_without_a_name_is_refused_in_one_line(tmp_path: Path, id: int) -> None:
    row = V011_ROW | {"turns": [V011_ROW["turns"][0] | {"domain": id}]}
    path = tmp_path / "validation.parquet"
    rows_of(v011_features(("animal", "book")), [row], path)
    with pytest.raises(ValueError, match=f"domain of interaction s0 is {id}, of 2 names") as error:
        load_turns(tmp_path, "validation")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_label_is_not_the_last_one(tmp_path: Path) -> None:
    row = V011_ROW | {"turns": [V011_ROW["turns"][0] | {"domain": -1, "dynamism": None}]}
    rows_of(v011_features(("animal", "book")), [row], tmp_path / "validation.parquet")
    (turn,) = load_turns(tmp_path, "validation")
    assert turn.domain is turn.dynamism is None
    assert turn.query_category == "reasoning"


def test_features_as_older_versions_of_datasets_wrote_them(tmp_path: Path) -> None:
    path = tmp_path / "validation.parquet"
    write_crag_mm(sessions()[:1], path)
    table = pyarrow.parquet.read_table(path)
    described = json.loads(table.schema.metadata[b"huggingface"])
    turns = described["info"]["features"]["turns"]
    columns = {name: column["feature"] for name, column in turns.items()}
    described["info"]["features"]["turns"] = {"feature": columns, "_type": "Sequence"}
    metadata = {b"huggingface": json.dumps(described).encode()}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)
    assert [turn.domain for turn in load_turns(tmp_path, "validation")] == ["food", "book"]


def test_ids_without_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "validation.parquet"
    write_crag_mm(sessions()[:1], path)
    table = pyarrow.parquet.read_table(path).replace_schema_metadata(None)
    pyarrow.parquet.write_table(table, path)
    with pytest.raises(ValueError, match=r"validation\.parquet: no names for the ids of 'domain'"):
        load_turns(tmp_path, "validation")


def test_a_turn_without_answer_is_named(tmp_path: Path) -> None:
    row = V011_ROW | {"answers": V011_ROW["answers"][:1]}
    rows_of(v011_features(("x", "y")), [row], tmp_path / "validation.parquet")
    with pytest.raises(ValueError, match="interaction s0 has no answer"):
        load_turns(tmp_path, "validation")


def test_a_broken_embedded_image_names_the_session(tmp_path: Path) -> None:
    session = CragMMSession(session_id="z", turns=(question("z0"),), image=b"no image")
    write_crag_mm([session], tmp_path / "validation.parquet")
    (turn,) = load_turns(tmp_path, "validation")
    with pytest.raises(ValueError, match="unreadable embedded image of example 'z'"):
        turn.load_image()


def test_unknown_labels_and_missing_files_are_named(tmp_path: Path) -> None:
    wrong = CragMMSession(session_id="z", turns=(question("z0", domain="cups"),))
    with pytest.raises(ValueError, match="session z: domain 'cups' is none of CRAG-MM's"):
        write_crag_mm([wrong], tmp_path / "validation.parquet")
    with pytest.raises(ValueError, match=r"no public_test\.parquet"):
        load_turns(tmp_path, "public_test")
