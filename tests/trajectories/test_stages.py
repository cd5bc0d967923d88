"""Rules of single stages, without a server: a teacher that says what it is told to say."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixsearch.chat import Conversation, Grounded, Message, Role, Searched, Text
from pixsearch.config import (
    BuildStage,
    BuildTrajectoriesOptions,
    ImageStorage,
    QueryType,
    WhenSilent,
)
from pixsearch.datasets.example import Masks
from pixsearch.datasets.exclusion import known_images, without_images
from pixsearch.datasets.files import image_key, load_image
from pixsearch.datasets.masks import encode_rle
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.datasets.subset import SomeExamples
from pixsearch.datasets.trajectories import StoredTrajectory, load, write_trajectories
from pixsearch.endpoint.request import ChatRequest, Correction, Reply
from pixsearch.queries import Passage, Query
from pixsearch.trajectories.checks import faults_of
from pixsearch.trajectories.composing import with_search
from pixsearch.trajectories.grounding import GivenMasks, GroundedMasks
from pixsearch.trajectories.images import ImageFolder
from pixsearch.trajectories.own_masks import CheckpointGrounder
from pixsearch.trajectories.quarantine import Unusable
from pixsearch.trajectories.records import Response, Segment, SubQuestion
from pixsearch.trajectories.sources import SourcedQuestion
from pixsearch.trajectories.stages.assign import STAGE as ASSIGN
from pixsearch.trajectories.stages.choose import STAGE as CHOOSE
from pixsearch.trajectories.stages.ground import STAGE as GROUND
from pixsearch.trajectories.stages.retrieve import STAGE as RETRIEVE
from pixsearch.trajectories.stages.stage import Stage
from pixsearch.trajectories.teacher.tasks import Task
from pixsearch.trajectories.tools import Job, Tools, Values
from tests.datasets.builders import HEIGHT, WIDTH, save_image

BOAT = np.zeros((HEIGHT, WIDTH), dtype=bool)
BOAT[4:12, 6:16] = True
STEPS = (
    SubQuestion(number=1, question="Which boat?", needs_search=True, answer="the Orla"),
    SubQuestion(number=2, question="Is it red?", needs_search=False, answer="yes"),
    SubQuestion(number=3, question="Who made the Orla?", needs_search=True, answer="Guild"),
)
RESPONSE = Response(
    segments=(
        Segment(words="First the red boat", sub_question=1),
        Segment(words="It is the Orla. Now the maker of the Orla", sub_question=3),
    ),
    answer="The Guild made it.",
)
REGION = {"type": "region", "phrase": "the red boat", "texts": []}
TEXTS = {"type": "text", "phrase": None, "texts": ["Orla", " ", "Orla", "maker", "more"]}


def asked(image: Path | None = None) -> SourcedQuestion:
    question = AnnotatedQuestion(
        id="1",
        question="Who made the red boat?",
        answers=("Guild", "the Guild"),
        image_id=image and image_key(image),
        load_image=image and partial(load_image, image, example="1"),
        image_file=image and str(image),
    )
    return SourcedQuestion(source="toy", key="toy/1", row=0, question=question)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save_image(tmp_path / "boat.png")


class Told:
    """A teacher with one answer for each task."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.requests: list[ChatRequest] = []

    def complete(self, request: ChatRequest, corrections: Sequence[Correction]) -> Reply:
        self.requests.append(request)
        return Reply(text=json.dumps(self.answers[request.task]))


class Found:
    """A grounder that finds the boat and nothing else."""

    def masks(self, image: Image.Image, phrases: Sequence[str]) -> Masks:
        return np.stack([BOAT & (phrase == "the red boat") for phrase in phrases])


def search(queries: Sequence[Query]) -> list[list[Passage]]:
    """A passage that says how it was found."""
    return [[Passage(id=str(q.type), title="t", text=q.text or "-", score=0.5)] for q in queries]


def tools_of(teacher: Told, **changes: Any) -> Tools:
    options = BuildTrajectoriesOptions(**changes)
    return Tools(
        options=options,
        settings={},
        teacher=teacher,
        search=search,
        masks=GroundedMasks(Found()),
        prompt_versions={task: "v1" for task in Task},
    )


def run(stage: Stage, tools: Tools, values: Values, of: SourcedQuestion) -> dict[str, Any]:
    job = Job(asked=of, values=values)
    if stage.prepare is not None:
        job = replace(job, prepared=stage.prepare(job, tools))
    return stage.work(job, tools)


def values_of(response: Response = RESPONSE) -> Values:
    return {
        BuildStage.decompose: {"sub_questions": [asdict(each) for each in STEPS]},
        BuildStage.choose: {"response": asdict(response)},
    }


FAULTS = {
    "": RESPONSE,
    "searches for the sub-questions [1]; those that need a search are [1, 3]": replace(
        RESPONSE, segments=RESPONSE.segments[:1]
    ),
    "searches for the sub-questions [3, 1]": replace(RESPONSE, segments=RESPONSE.segments[::-1]),
    "holds none of the accepted answers": replace(RESPONSE, answer="The Guildhall."),
    "says 'Guild' before the last search": replace(
        RESPONSE,
        segments=(RESPONSE.segments[0], Segment(words="The GUILD's Orla", sub_question=3)),
    ),
    "spells <search>": replace(RESPONSE, answer="<search> Guild"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_response(fault: str) -> None:
    found = faults_of(FAULTS[fault], STEPS, asked().question, most_words=4)
    assert (len(found) == 1 and fault in found[0].told) if fault else found == []


def choose(*candidates: Response, chosen: int = 1, refined: Any = None) -> tuple[Any, Told]:
    plain = [asdict(each) for each in candidates]
    teacher = Told(
        refine={"responses": refined or plain}, choose={"reason": "so", "chosen": chosen}
    )
    values = values_of() | {BuildStage.respond: {"responses": plain}}
    return run(CHOOSE, tools_of(teacher), values, asked()), teacher


def test_only_what_is_without_fault_is_chosen_from() -> None:
    other = replace(RESPONSE, answer="It was the Guild.")
    wrong = replace(RESPONSE, segments=())
    value, teacher = choose(wrong, RESPONSE, wrong, other, chosen=2)
    assert Response.from_json(value["response"]) == other
    assert (value["num_sound"], value["reason"]) == (2, "so")
    told = teacher.requests[0].fields["responses"]
    assert [bool(each["faults"]) for each in told] == [True, False, True, False]


def test_a_single_sound_candidate_is_not_asked_about() -> None:
    value, teacher = choose(replace(RESPONSE, segments=()), RESPONSE)
    assert Response.from_json(value["response"]) == RESPONSE
    assert [request.task for request in teacher.requests] == [Task.refine]


def test_what_the_teacher_mends_is_taken() -> None:
    value, _ = choose(replace(RESPONSE, segments=()), refined=[asdict(RESPONSE)])
    assert Response.from_json(value["response"]) == RESPONSE


def test_without_a_sound_candidate_a_question_is_left_out() -> None:
    with pytest.raises(Unusable, match=r"misplaced_searches.*those that need a search"):
        choose(replace(RESPONSE, segments=()))
    with pytest.raises(Unusable, match=r"answer_not_accepted.*none of the accepted answers"):
        choose(replace(RESPONSE, answer="The Guildhall."))


GOLD = "The red boat was made by the Guild of Osmeth in 1907."


def choose_for_sentence(*answers: str, verdicts: list[str]) -> tuple[tuple[str, int], Told]:
    """The answers that are chosen from, where the accepted one is a sentence."""
    plain = [asdict(replace(RESPONSE, answer=answer)) for answer in answers]
    teacher = Told(
        refine={"responses": plain},
        check={"verdicts": verdicts},
        choose={"reason": "so", "chosen": 1},
    )
    of = replace(asked(), question=replace(asked().question, answers=(GOLD,)))
    values = values_of() | {BuildStage.respond: {"responses": plain}}
    value = run(CHOOSE, tools_of(teacher), values, of)
    return (value["response"]["answer"], value["num_sound"]), teacher


def test_a_paraphrase_of_a_sentence_is_taken_where_the_teacher_finds_it_the_same() -> None:
    paraphrase, reversed_ = "Osmeth's Guild built it in 1907.", "Osmeth was made by the boat."
    chosen, teacher = choose_for_sentence(
        reversed_, GOLD, paraphrase, verdicts=["contradicts", "agrees"]
    )
    assert chosen == (GOLD, 2)
    check = next(request for request in teacher.requests if request.task is Task.check)
    assert check.fields["answers"] == [reversed_, paraphrase]  # what repeats it is not asked about
    assert (check.fields["accepted_answers"], check.load_image) == ([GOLD], None)
    assert choose_for_sentence(paraphrase, verdicts=["agrees"])[0] == (paraphrase, 1)


@pytest.mark.parametrize("verdict", ["contradicts", "incomplete"])
def test_what_does_not_agree_with_a_sentence_is_left_out(verdict: str) -> None:
    with pytest.raises(Unusable, match=f"answer_not_accepted.*'It is new.': {verdict}"):
        choose_for_sentence("It is new.", verdicts=[verdict])


def test_another_number_than_the_sentence_has_is_a_fault_whatever_the_teacher_says() -> None:
    with pytest.raises(Unusable, match=r"answer_not_accepted.*its answer says 1908, which the"):
        choose_for_sentence("Osmeth's Guild built it in 1908.", verdicts=["agrees"])


def assign(image: Path | None, *searches: dict[str, Any], **changes: Any) -> dict[str, Any]:
    teacher = Told(assign={"searches": list(searches)})
    return run(ASSIGN, tools_of(teacher, **changes), values_of(), asked(image))


def test_searches_get_types_phrases_and_words(image: Path) -> None:
    region, text = assign(image, REGION, TEXTS, max_text_queries=2)["queries"]
    assert (region["type"], region["phrase"], region["texts"]) == ("region", "the red boat", ())
    assert text["phrase"] is None
    # two candidates of the teacher, and the clause before the search
    assert text["texts"] == ("Orla", "maker", "Now the maker of the Orla")


NONSENSE = {
    "there are 1 searches, not 2": [REGION],
    "search 2 is of type text and has no texts": [REGION, {**TEXTS, "texts": [" "]}],
    "search 1 is of type region and has no phrase": [{**REGION, "phrase": None}, TEXTS],
    "do not end with the phrase 'the boat'": [{**REGION, "phrase": "the boat"}, TEXTS],
    "there is no image: only text": [REGION, TEXTS],
    "search 2: the text 'the guild' holds the answer 'Guild'": [
        REGION,
        {**TEXTS, "texts": ["maker", "the guild"]},
    ],
}


@pytest.mark.parametrize("complaint", NONSENSE)
def test_nonsense_assignments_are_told(image: Path, complaint: str) -> None:
    with pytest.raises(Unusable, match=complaint):
        assign(None if "image" in complaint else image, *NONSENSE[complaint])


def test_an_answer_that_the_question_says_may_be_searched_for(image: Path) -> None:
    named = asked(image)
    named = replace(named, question=replace(named.question, question="Is the Guild its maker?"))
    teacher = Told(assign={"searches": [REGION, {**TEXTS, "texts": ["maker Guild"]}]})
    queries = run(ASSIGN, tools_of(teacher), values_of(), named)["queries"]
    assert queries[1]["texts"][0] == "maker Guild"


def grounded(image: Path, phrase: str, masks: Any = None) -> dict[str, Any]:
    queries = [{**REGION, "phrase": phrase, "texts": ()}, {**TEXTS, "texts": ("Orla",)}]
    tools = tools_of(Told())
    tools = tools if masks is None else replace(tools, masks=masks)
    return run(GROUND, tools, values_of() | {BuildStage.assign: {"queries": queries}}, asked(image))


def test_phrases_get_masks(image: Path) -> None:
    assert grounded(image, "the red boat") == {"masks": [encode_rle(BOAT)]}
    given = GivenMasks({("toy/1", "the red boat"): encode_rle(BOAT)})
    assert grounded(image, "the red boat", given) == {"masks": [encode_rle(BOAT)]}


def test_an_empty_mask_is_left_out(image: Path) -> None:
    with pytest.raises(Unusable, match="empty_mask: of 'the blue boat'"):
        grounded(image, "the blue boat")
    with pytest.raises(Unusable, match="no_mask: none is given for 'the blue boat'"):
        grounded(image, "the blue boat", GivenMasks({}))


def test_given_masks_are_lines_of_a_file(tmp_path: Path, image: Path) -> None:
    path = tmp_path / "masks.jsonl"
    line = {"question": "toy/1", "phrase": "the red boat", "mask": encode_rle(BOAT)}
    path.write_text(json.dumps(line) + "\n")
    assert grounded(image, "the red boat", GivenMasks.read(path))["masks"] == [encode_rle(BOAT)]
    path.write_text(json.dumps({**line, "mask": "abc"}) + "\n")
    with pytest.raises(ValueError, match=r"masks\.jsonl:1: the mask: a str, not an object"):
        GivenMasks.read(path)
    path.write_text('{"question": "toy/1"}\n')
    with pytest.raises(ValueError, match=r"masks\.jsonl:1: lacks phrase, mask"):
        GivenMasks.read(path)


def test_a_trained_model_may_give_the_masks(shared_model, image: Path) -> None:
    masks = CheckpointGrounder(shared_model).masks(load_image(image, example="1"), ["a", "a boat"])
    assert masks.shape == (2, HEIGHT, WIDTH)
    assert masks.dtype == bool


def retrieved(image: Path, *verdicts: list[str], **changes: Any) -> tuple[Values, Told]:
    """Up to evidence: a region, then two candidate texts."""
    queries = [{**REGION, "texts": ()}, {**TEXTS, "texts": ("Orla", "maker")}]
    values = values_of() | {
        BuildStage.assign: {"queries": queries},
        BuildStage.ground: {"masks": [encode_rle(BOAT)]},
    }
    teacher = Told()
    left = list(verdicts)

    def complete(request: ChatRequest, corrections: Sequence[Correction]) -> Reply:
        teacher.requests.append(request)
        return Reply(text=json.dumps({"verdicts": left.pop(0)}))

    teacher.complete = complete
    values[BuildStage.retrieve] = run(RETRIEVE, tools_of(teacher, **changes), values, asked(image))
    return values, teacher


def test_the_candidate_whose_evidence_supports_the_answer_is_taken(image: Path) -> None:
    values, teacher = retrieved(image, ["supports"], ["silent", "supports"])
    region, text = values[BuildStage.retrieve]["evidence"]
    assert (region["text"], region["passages"][0]["id"]) == (None, "region")
    assert (text["text"], text["passages"][0]["text"]) == ("maker", "maker")
    sent = teacher.requests[1].fields
    assert (sent["sub_question"], sent["expected_answer"]) == ("Who made the Orla?", "Guild")
    trajectory = with_search(asked(image), values, BuildTrajectoriesOptions(), "boat.png")
    first, phrase, searched, words, second, answer = trajectory.conversation.messages[-1].parts
    assert (first, phrase) == (Text(text="First"), Grounded(phrase="the red boat"))
    assert isinstance(searched, Searched)
    assert (searched.type, searched.text) == (QueryType.region, None)
    assert words == Text(text="It is the Orla. Now the maker of the Orla")
    assert second.text == "maker"
    assert answer == Text(text="The Guild made it.")
    assert trajectory.masks == (encode_rle(BOAT),)


def test_an_answer_ends_where_its_evidence_does(image: Path) -> None:
    values, teacher = retrieved(image, ["silent"])
    assert len(teacher.requests) == 1  # the second search is not judged
    with pytest.raises(Unusable, match="silent_evidence: passages region"):
        with_search(asked(image), values, BuildTrajectoriesOptions(), "boat.png")
    options = BuildTrajectoriesOptions(when_silent=WhenSilent.abstain)
    parts = with_search(asked(image), values, options, "boat.png").conversation.messages[-1].parts
    assert parts[-1] == Text(text="I don't know")
    assert sum(isinstance(part, Searched) for part in parts) == 1


def test_evidence_that_contradicts_is_left_out_even_if_silence_is_not(image: Path) -> None:
    values, _ = retrieved(image, ["supports"], ["contradicts", "contradicts"])
    options = BuildTrajectoriesOptions(when_silent=WhenSilent.abstain)
    with pytest.raises(Unusable, match="contradicting_evidence"):
        with_search(asked(image), values, options, "boat.png")


def test_silence_is_preferred_to_contradiction(image: Path) -> None:
    values, _ = retrieved(image, ["supports"], ["contradicts", "silent"])
    assert values[BuildStage.retrieve]["evidence"][1]["text"] == "maker"


@pytest.mark.parametrize("storage", ImageStorage)
def test_images_come_along(tmp_path: Path, image: Path, storage: ImageStorage) -> None:
    folder = ImageFolder(tmp_path / "images", storage)
    name = folder.put(asked(image))
    assert name is not None
    stored = tmp_path / "images" / name
    assert stored.read_bytes() == image.read_bytes()
    assert stored.is_symlink() == (storage is ImageStorage.link)
    assert folder.put(asked(image)) == name


@pytest.mark.parametrize("storage", ImageStorage)
def test_images_are_stored_anew_if_they_lie_there_otherwise(tmp_path, image, storage) -> None:
    for each in (*ImageStorage, storage):
        name = ImageFolder(tmp_path / "images", each).put(asked(image))
    stored = tmp_path / "images" / name
    assert stored.is_symlink() == (storage is ImageStorage.link)
    assert stored.read_bytes() == image.read_bytes()


def test_an_image_without_a_file_is_written_as_it_is(tmp_path: Path, image: Path) -> None:
    inside = asked(image)
    inside = replace(inside, question=replace(inside.question, image_file=None))
    name = ImageFolder(tmp_path / "images", ImageStorage.link).put(inside)
    assert name is not None
    stored = Image.open(tmp_path / "images" / name)
    assert stored.tobytes() == Image.open(image).convert("RGB").tobytes()


def test_images_that_are_evaluated_on_are_known_in_what_was_built(tmp_path: Path) -> None:
    """Training leaves them out by their names (`data.exclude_eval_images`)."""
    names = ("COCO_train2014_000000000009.jpg", "000000000007.jpg", "oven_01963180.JPEG")
    images = [save_image(tmp_path / "from" / name) for name in names]
    webqa = asked(images[0])
    fields = {"image_file": None, "image_id": "/webqa/imgs.tsv#30000001"}
    webqa = replace(webqa, question=replace(webqa.question, **fields))
    folder = ImageFolder(tmp_path / "images", ImageStorage.copy)
    told = Conversation(
        messages=tuple(Message(role=role, parts=(Text(text="so"),)) for role in Role),
        has_image=True,
    )
    write_trajectories(
        tmp_path / "train.jsonl",
        (
            StoredTrajectory(id=str(row), conversation=told, image=folder.put(each))
            for row, each in enumerate([*map(asked, images), webqa])
        ),
    )
    built = load(tmp_path, "train")
    every = SomeExamples(built, range(len(built)))
    evaluated = known_images(
        ["x/000000000009.jpg", "y/oven_01963180.jpg", "/elsewhere/imgs.tsv#30000001"]
    )
    assert [each.id for each in without_images(every, evaluated)] == ["1"]


def test_a_broken_image_is_left_out(tmp_path: Path, image: Path) -> None:
    image.write_bytes(image.read_bytes()[:40])
    with pytest.raises(Unusable, match="broken_image"):
        ImageFolder(tmp_path / "images", ImageStorage.link).put(asked(image))
