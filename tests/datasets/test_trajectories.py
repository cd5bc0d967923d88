import json
import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.chat import Conversation, Grounded, Message, Part, Role, Searched, Text
from pixsearch.config import QueryType
from pixsearch.datasets import trajectories, trajectory_index
from pixsearch.datasets.exclusion import known_images, without_images
from pixsearch.datasets.files import JsonLines
from pixsearch.datasets.masks import encode_rle
from pixsearch.datasets.mixture import Mixture
from pixsearch.datasets.subset import SomeExamples
from pixsearch.datasets.trajectories import StoredTrajectory, write_trajectories
from pixsearch.datasets.trajectory_index import open_index
from pixsearch.queries import Passage
from tests.datasets.builders import briefly, save_image

PASSAGE = Passage(id="velmora", title="Velmora cup", text="The Velmora cup is made in Tarnwick.")
CUP = Grounded(phrase="the cup")
REGION = Searched(type=QueryType.region, passages=(PASSAGE,))
TEXT = Searched(type=QueryType.text, text="where is Tarnwick?", passages=(PASSAGE, PASSAGE))
FORCED = Searched(type=QueryType.image, supervised=False)


def conversation(*answer: Part, has_image: bool = True) -> Conversation:
    question = Message(role=Role.USER, parts=(Text(text="Where is it made?"),))
    reply = Message(role=Role.ASSISTANT, parts=answer)
    return Conversation(messages=(question, reply), has_image=has_image)


def mask() -> np.ndarray:
    mask = np.zeros((24, 32), dtype=bool)
    mask[4:9, 10:20] = True
    return mask


def full() -> StoredTrajectory:
    words = (Text(text="Let me look at "), CUP, REGION, TEXT, FORCED, Text(text="Osmeth ≠ Ö."))
    return StoredTrajectory(
        id="t0", conversation=conversation(*words), image="a.png", masks=(encode_rle(mask()),)
    )


def text_only() -> StoredTrajectory:
    parts = (TEXT, Text(text="Osmeth."))
    return StoredTrajectory(id="t1", conversation=conversation(*parts, has_image=False))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.png")
    assert write_trajectories(tmp_path / "train.jsonl", [full(), text_only()]) == 2
    first, second = trajectories.load(tmp_path, "train")
    assert first.conversation == full().conversation
    np.testing.assert_array_equal(first.load_masks(), mask()[None])
    assert first.load_image().size == (32, 24)
    assert second.conversation == text_only().conversation
    assert (second.image_id, second.load_image, second.load_masks) == (None, None, None)
    assert [path.name for path in tmp_path.glob("*.unfinished")] == []


def test_an_answer_may_be_context_alone(tmp_path: Path) -> None:
    earlier = Message(role=Role.ASSISTANT, parts=(Text(text="yes"),), supervised=False)
    last = conversation(Text(text="Osmeth."), has_image=False)
    turns = (last.messages[0], earlier, *last.messages)
    stored = replace(text_only(), conversation=replace(last, messages=turns))
    write_trajectories(tmp_path / "train.jsonl", [stored])
    (read,) = trajectories.load(tmp_path, "train")
    assert read.conversation == stored.conversation


def test_images_may_lie_relative_to_the_root(tmp_path: Path) -> None:
    save_image(tmp_path / "scenes" / "a.png")
    stored = StoredTrajectory(
        id="t", conversation=conversation(Text(text="A.")), image="../scenes/a.png"
    )
    write_trajectories(tmp_path / "trajectories" / "train.jsonl", [stored])
    (example,) = trajectories.load(tmp_path / "trajectories", "train")
    assert example.load_image().size == (32, 24)
    assert example.image_id == str(tmp_path / "scenes" / "a.png")


def test_a_broken_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_trajectories(path, [text_only()])
    path.write_text('{"id": "cut of\n' + path.read_text() + "\n[1]")
    examples = trajectories.load(tmp_path, "train")
    assert len(examples) == 4
    assert examples[1].id == "t1"
    for index, line, remedy in ((0, 1, "the line"), (2, 3, "the line"), (-1, 4, "it there")):
        with pytest.raises(ValueError, match=rf"train\.jsonl:{line}: .*; mend {remedy}") as error:
            examples[index]
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "has_image", "num_masks", "reason"),
    [
        ((REGION, CUP, Text(text="a")), True, 1, "before any grounded phrase"),
        ((CUP, REGION), True, 1, "ends with a search"),
        ((CUP,), True, 0, "1 grounded phrases, but 0 masks"),
        ((Text(text="a"),), True, 1, "0 grounded phrases, but 1 masks"),
        ((FORCED, Text(text="a")), False, 0, "type image without an image"),
        ((CUP, Text(text="a")), False, 1, "but no image"),
        ((Searched(type=QueryType.text, text=" "), Text(text="a")), True, 0, "without words"),
        ((Searched(type=QueryType.image, text="x"), Text(text="a")), True, 0, "with the words"),
        ((), True, 0, "an answer is empty"),
        ((Grounded(phrase=" "), Text(text="a")), True, 1, "a grounded phrase without words"),
        ((CUP, REGION, Text(text=" ")), True, 1, "no words follow the evidence"),
    ],
)
def test_a_broken_grammar_is_named_on_writing_and_on_reading(
    tmp_path: Path, answer: tuple, has_image: bool, num_masks: int, reason: str
) -> None:
    stored = StoredTrajectory(
        id="bad",
        conversation=conversation(*answer, has_image=has_image),
        image="a.png" if has_image else None,
        masks=(encode_rle(mask()),) * num_masks,
    )
    with pytest.raises(ValueError, match=f"trajectory 'bad': .*{reason}"):
        write_trajectories(tmp_path / "train.jsonl", [stored])
    (tmp_path / "train.jsonl").write_text(json.dumps(trajectories.to_json(stored)) + "\n")
    with pytest.raises(ValueError, match=rf"train\.jsonl:1: .*{reason}"):
        trajectories.load(tmp_path, "train")[0]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"grounded": "the cup"', '"ground": "the cup"', "text, grounded and search, not ground"),
        ('"type": "region"', '"type": "video"', "of type 'video'; there are: text, image, region"),
        ('"role": "user"', '"role": "system"', "role 'system'; there are: user, assistant"),
        ('"title": "Velmora cup", ', "", "a passage: lacks title"),
        ('"masks"', '"mask"', "lacks masks"),
        ('"counts"', '"count"', "a mask: lacks counts"),
    ],
)
def test_unknown_fields_are_named(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "train.jsonl"
    write_trajectories(path, [full()])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf"train\.jsonl:1.*{reason}"):
        trajectories.load(tmp_path, "train")[0]


def test_a_user_may_not_search(tmp_path: Path) -> None:
    wrong = Message(role=Role.USER, parts=(TEXT,))
    answer = Message(role=Role.ASSISTANT, parts=(Text(text="a"),))
    stored = StoredTrajectory(
        id="u", conversation=Conversation(messages=(wrong, answer), has_image=False)
    )
    with pytest.raises(ValueError, match="a user's message holds text only"):
        write_trajectories(tmp_path / "train.jsonl", [stored])


words = st.text(string.ascii_letters + 'é≠\n\u2028<>"{}', min_size=1).filter(str.strip)
passages = st.builds(Passage, id=words, title=words, text=words)
searches = st.builds(
    Searched,
    type=st.just(QueryType.text),
    text=words,
    passages=st.lists(passages, max_size=2).map(tuple),
    supervised=st.booleans(),
)
parts = st.one_of(st.builds(Text, text=words), st.builds(Grounded, phrase=words), searches)


# Type checks at run time draw which item of a tuple they look at.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@briefly
@given(answer=st.lists(parts, max_size=5), end=words)
def test_json_round_trip(answer: list[Part], end: str) -> None:
    count = sum(isinstance(part, Grounded) for part in answer)
    stored = StoredTrajectory(
        id="h",
        conversation=conversation(*answer, Text(text=end)),
        image="a.png",
        masks=(encode_rle(mask()),) * count,
    )
    record = json.loads(json.dumps(trajectories.to_json(stored)))
    assert trajectories.from_json(record, where="here") == stored


def write_lines(path: Path, *lines: dict | str) -> None:
    written = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(f"{line}\n" for line in written))


def shown(id: str, image: str | None) -> dict:
    return {"passages": [{"id": "7", "image": "z.png"}], "image": image, "id": id}


def indexed(path: Path) -> tuple[dict[int, int], list[int], list[int], list[str]]:
    index = open_index(JsonLines(path))
    images = index.image_index(path.parent)
    names = [Path(images.id_of(number)).name for number in images.numbers.tolist() if number >= 0]
    groups = images.groups()
    return index.first_of_repeated(), index.broken.tolist(), groups.rows.tolist(), names


@pytest.mark.parametrize("remembered_from", [1, 1 << 26])
def test_one_pass_finds_ids_images_and_broken_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered_from: int
) -> None:
    monkeypatch.setattr(trajectory_index, "REMEMBERED_FROM", remembered_from)
    path = tmp_path / "train.jsonl"
    lines = [shown("a", "ö.png"), shown("b", None), shown("c", "b.png"), shown("a", "b.png")]
    write_lines(path, *lines, '{"id": "cut', shown("d", "./ö.png"), "[1]", shown("e", None))
    expected = ({3: 0}, [4, 6], [0, 5, 1, 2, 3, 4, 6, 7], ["ö.png", "b.png", "ö.png"])
    assert indexed(path) == expected
    assert (tmp_path / "train.jsonl.index.npy").is_file() == (remembered_from == 1)
    assert indexed(path) == expected
    write_lines(path, shown("a", None), shown("b", "c.png"))
    assert indexed(path) == ({}, [], [0, 1], ["c.png"])
    path.write_text("")
    assert indexed(path) == ({}, [], [], [])


def test_a_long_file_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What training looks for at its start it finds in the index alone."""
    monkeypatch.setattr(trajectory_index, "REMEMBERED_FROM", 1)
    names = ["000000000009.jpg", "b.png", None, "b.png"] * 5
    stored = [replace(text_only(), id=str(row), image=name) for row, name in enumerate(names)]
    write_trajectories(tmp_path / "train.jsonl", stored)
    trajectories.load(tmp_path, "train")
    monkeypatch.setattr(JsonLines, "__getitem__", None)
    monkeypatch.setattr(trajectory_index, "_scan", None)
    examples = trajectories.load(tmp_path, "train")
    every = SomeExamples(examples, range(len(examples)))
    left = without_images(every, known_images(["x/COCO_val2014_000000000009.jpg"]))
    assert len(left) == 15
    assert left.image_index().shown() == every.at(range(1, 20)).image_index().shown()[-1:]
    mixture = Mixture({"t": left}, {"t": 1.0}, seed=0, by_image=True)
    assert sorted(mixture.locate(place).row for place in range(15)) == [*range(15)]
