"""The miniature world: reproducible, honest about its splits, readable by the ordinary readers."""

import json
from collections import Counter
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixsearch.config import MiniatureOptions
from pixsearch.datasets import READERS
from pixsearch.datasets.crag_mm import load_turns
from pixsearch.datasets.masks import decode_masks, encode_rle
from pixsearch.datasets.templates import QUESTIONS as GROUNDING_QUESTIONS
from pixsearch.miniature.appearance import FOUNDATION_SEED
from pixsearch.miniature.entities import NUM_FOUNDATION_NAMES, Split, entities_of_looks
from pixsearch.miniature.planning import WorldPlan, plan_world
from pixsearch.miniature.questions import QuestionType
from pixsearch.miniature.scenes import HEIGHT, WIDTH, draw_photo, draw_scene
from pixsearch.miniature.templates import DONT_KNOW, QUESTIONS, SEGMENTATION
from pixsearch.miniature.world import build_world
from pixsearch.miniature.writing_training import write_training

OPTIONS = MiniatureOptions(seed=5, num_train_scenes=60, num_eval_scenes=40, num_entities=400)
NOTHING = encode_rle(np.zeros((HEIGHT, WIDTH), dtype=bool))
SMALL = MiniatureOptions(seed=6, num_train_scenes=6, num_eval_scenes=4, num_entities=60)


@pytest.fixture(scope="module")
def plan() -> WorldPlan:
    return plan_world(OPTIONS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature") / "world"
    build_world(MiniatureOptions(**(asdict(SMALL) | {"root": str(folder)})))
    return folder


def test_same_seed_gives_the_same_world_and_the_same_bits(plan: WorldPlan) -> None:
    again = plan_world(OPTIONS)
    assert again == plan
    scene = plan.splits[Split.train].scenes[0]
    first, second = draw_scene(scene), draw_scene(scene)
    assert first.image.tobytes() == second.image.tobytes()
    assert np.array_equal(first.masks, second.masks)


def test_another_seed_gives_another_world(plan: WorldPlan) -> None:
    other = MiniatureOptions(**(asdict(OPTIONS) | {"seed": 7}))
    names = {entity.name for entity in plan.entities.values()}
    others = {entity.name for entity in plan_world(other).entities.values()}
    assert len(names & others) < len(names) / 10


def test_knowledge_base_has_the_promised_variety(plan: WorldPlan) -> None:
    known = [entity for entity in plan.entities.values() if entity.known]
    assert len(known) >= 400
    assert len({entity.appearance.kind for entity in known}) >= 4
    assert len({entity.appearance for entity in plan.entities.values()}) == len(plan.entities)
    alike = Counter(replace(entity.appearance, emblem="") for entity in known)
    in_pairs = sum(count for count in alike.values() if count > 1)  # the emblem alone differs
    assert in_pairs > len(known) / 3  # by chance it would be a sixth


@pytest.mark.parametrize("split", Split)
def test_some_things_in_scenes_are_in_no_knowledge_base(plan: WorldPlan, split: Split) -> None:
    placed = [each for scene in plan.splits[split].scenes for each in scene.placed]
    unknown = [each for each in placed if not plan.entities[each.entity_id].known]
    assert 0 < len(unknown) < len(placed) / 2


def test_evaluated_worlds_draw_no_appearance_of_the_foundation(plan: WorldPlan) -> None:
    assert not any(entity.appearance.is_for_foundation for entity in plan.entities.values())


def test_evaluated_worlds_have_no_name_of_the_foundation(plan: WorldPlan) -> None:
    look = plan.entities["g0000"].appearance
    read = entities_of_looks([look] * NUM_FOUNDATION_NAMES, seed=FOUNDATION_SEED)
    assert {each.name for each in read.values()}.isdisjoint(e.name for e in plan.entities.values())


def test_no_entity_of_the_evaluation_occurs_in_training(plan: WorldPlan) -> None:
    evaluated = [e for e in plan.entities.values() if e.split is Split.eval]
    names, ids = {e.name for e in evaluated}, {e.id for e in evaluated}
    training = plan.splits[Split.train]
    for scene in training.scenes:
        assert ids.isdisjoint(member.entity_id for member in scene.placed)
    for question in training.questions:
        assert ids.isdisjoint(step.entity_id for step in question.steps)
        assert not any(name in f"{question.text} {question.answer}" for name in names)


def test_training_files_on_disk_name_no_entity_of_the_evaluation(root: Path) -> None:
    plan = plan_world(SMALL)
    names = {e.name for e in plan.entities.values() if e.split is Split.eval}
    texts = [
        (root / "knowledge_base_train" / "corpus.jsonl").read_text(),
        (root / "llava" / "train.json").read_text(),
        (root / "questions" / "train.jsonl").read_text(),
    ]
    assert not any(name in text for name in names for text in texts)


def test_a_quarter_of_the_questions_are_pairs_of_one_wording(plan: WorldPlan) -> None:
    questions = plan.splits[Split.eval].questions
    pairs: dict[str, list] = {}
    for question in questions:
        if question.pair:
            pairs.setdefault(question.pair, []).append(question)
    assert sum(len(pair) for pair in pairs.values()) >= len(questions) / 4
    for first, second in pairs.values():
        assert first.text == second.text
        assert first.needs_search != second.needs_search


def test_what_is_grounded_tells_colour_and_kind(plan: WorldPlan) -> None:
    told = 0
    for part in plan.splits.values():
        scenes = {scene.id: scene for scene in part.scenes}
        visual = [(q, step) for q in part.questions for step in q.steps if step.place is not None]
        for question, step in visual:
            look = scenes[question.scene_id].placed[step.place].appearance
            assert step.phrase.startswith(f"the {look.colour} {look.kind}")
            told += step.phrase not in question.text
    assert told > 20  # questions that say less than what is seen


def test_articles_are_read_beside_cluttered_pictures(plan: WorldPlan, tmp_path: Path) -> None:
    scenes = plan.splits[Split.train].scenes
    write_training(plan, {scene.id: [NOTHING] * len(scene.placed) for scene in scenes}, tmp_path)
    items = json.loads((tmp_path / "llava" / "train.json").read_text())
    read = [item for item in items if item["id"].endswith("-articles")]
    cluttered = {scene.id for scene in scenes if scene.egocentric}
    assert {item["id"].removesuffix("-articles") for item in read} == cluttered
    assert len(items) == len(scenes) + len(read)
    answers = [turn["value"] for item in read for turn in item["conversations"][1::2]]
    names = {entity.name for entity in plan.entities.values()}
    for item in read:
        text = item["conversations"][0]["value"]
        told = [turn["value"] for turn in item["conversations"][1::2]]
        assert all(answer in text for answer in told if answer in names)
    assert 0 < answers.count(DONT_KNOW) < len(answers) / 2


@cache
def whole_world(seed: int) -> WorldPlan:
    """As large as the default preset's."""
    return plan_world(MiniatureOptions(seed=seed))


def test_every_type_of_question_occurs(plan: WorldPlan) -> None:
    questions = plan.splits[Split.train].questions
    assert {question.type for question in questions} == set(QuestionType)
    assert any(not question.answerable for question in questions)
    assert any(question.scene_id is None for question in questions)
    comparison = next(q for q in questions if q.type is QuestionType.comparison)
    assert [step.text is None for step in comparison.steps] == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5, 101, 102, 103])
def test_more_than_three_hundred_questions_are_scored(seed: int) -> None:
    questions = whole_world(seed).splits[Split.eval].questions
    assert sum(question.answerable for question in questions) >= 300


def test_the_wording_that_asks_for_masks_is_not_trained() -> None:
    assert SEGMENTATION.format(x="{phrases}") not in GROUNDING_QUESTIONS


def test_wordings_of_the_evaluation_are_not_trained_but_their_words_are() -> None:
    trained = {
        word
        for forms in QUESTIONS.values()
        for form in forms[Split.train]
        for word in form.replace("?", "").replace(".", "").replace(",", "").split()
    }
    for forms in QUESTIONS.values():
        assert not set(forms[Split.train]) & set(forms[Split.eval])
        for form in forms[Split.eval]:
            words = form.replace("?", "").replace(".", "").replace(",", "").split()
            assert set(words) <= trained, form


def test_masks_fit_their_pictures_and_do_not_overlap(plan: WorldPlan) -> None:
    for scene in plan.splits[Split.eval].scenes[:10]:
        drawn = draw_scene(scene)
        assert drawn.masks.shape == (len(scene.placed), HEIGHT, WIDTH)
        assert drawn.masks.sum(0).max() <= 1
        assert drawn.masks.any((1, 2)).all()
        if scene.egocentric:
            assert 3 <= len(scene.placed) <= 6
        else:
            assert len(scene.placed) == 1


def test_the_ordinary_readers_read_the_training_files(root: Path) -> None:
    grounding = READERS["refcoco"](root / "refcoco", "train")
    example = grounding[0]
    assert example.load_image is not None
    assert example.load_masks is not None
    assert example.load_image().size == (WIDTH, HEIGHT)
    assert example.load_masks().any((1, 2)).all()
    talk = READERS["llava"](root / "llava", "train")
    scenes = plan_world(SMALL).splits[Split.train].scenes
    assert len(scenes) == SMALL.num_train_scenes
    cluttered = sum(scene.egocentric for scene in scenes)  # once more, with articles
    assert len(talk) == SMALL.num_train_scenes + cluttered


def test_the_evaluation_reads_back_in_crag_mm_columns(root: Path) -> None:
    turns = load_turns(root / "crag_mm", "validation")
    gold = [json.loads(line) for line in (root / "diagnostics.jsonl").read_text().splitlines()]
    assert [turn.interaction_id for turn in turns] == [line["interaction_id"] for line in gold]
    for turn, line in zip(turns, gold, strict=True):
        assert turn.answer == line["answer"]
        assert turn.is_egocentric == (line["scene_kind"] == "egocentric")
        if turn.load_image is not None:
            assert isinstance(turn.load_image(), Image.Image)


def test_gold_masks_are_those_of_the_scenes(root: Path) -> None:
    plan = plan_world(SMALL)
    drawn = {scene.id: draw_scene(scene).masks for scene in plan.splits[Split.eval].scenes}
    for line in (root / "segmentation.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert len(record["phrases"]) >= 3
        masks = decode_masks(
            [[phrase["mask"]] for phrase in record["phrases"]],
            height=HEIGHT,
            width=WIDTH,
            example=record["image_id"],
        )
        available = [mask.tobytes() for mask in drawn[record["image_id"]]]
        assert all(mask.tobytes() in available for mask in masks)


def test_a_phrase_is_a_lookalike_beside_another_of_its_silhouette(root: Path) -> None:
    scenes = {scene.id: scene.placed for scene in plan_world(SMALL).splits[Split.eval].scenes}
    flags = []
    for line in (root / "segmentation.jsonl").read_text().splitlines():
        record = json.loads(line)
        looks = {each.entity_id: each.appearance for each in scenes[record["image_id"]]}
        for phrase in record["phrases"]:
            own = looks.pop(phrase["entity_id"])
            beside = [(look.kind, look.silhouette) for look in looks.values()]
            assert phrase["lookalike"] == ((own.kind, own.silhouette) in beside)
            flags.append(phrase["lookalike"])
            looks[phrase["entity_id"]] = own
    assert set(flags) == {True, False}


def test_a_finished_world_is_reused_and_another_one_is_refused(root: Path) -> None:
    written = (root / "manifest.json").stat().st_mtime_ns
    build_world(MiniatureOptions(**(asdict(SMALL) | {"root": str(root)})))
    assert (root / "manifest.json").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match=r"something else \(seed"):
        build_world(MiniatureOptions(**(asdict(SMALL) | {"root": str(root), "seed": 9})))


def test_a_world_is_written_bit_for_bit(root: Path, tmp_path: Path) -> None:
    again = tmp_path / "world"
    build_world(MiniatureOptions(**(asdict(SMALL) | {"root": str(again)})))
    first, second = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (root, again)
    )
    assert first == second


def test_seeds_of_the_foundation_are_refused() -> None:
    with pytest.raises(ValueError, match="choose a lower one"):
        plan_world(MiniatureOptions(seed=FOUNDATION_SEED))


def test_photos_differ_from_view_to_view(plan: WorldPlan) -> None:
    appearance = (
        plan.entities["t0100"].appearance
        if "t0100" in plan.entities
        else next(iter(plan.entities.values())).appearance
    )
    assert draw_photo(appearance, (1, 2)).tobytes() != draw_photo(appearance, (1, 3)).tobytes()
