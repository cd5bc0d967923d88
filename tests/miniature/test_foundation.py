"""Pre-training of the miniature's parts: labels, augmentation, resumption, what is written."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    CLIPVisionModelWithProjection,
    LlamaForCausalLM,
    LlavaConfig,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from pixsearch.chat import ChatRenderer, Conversation, Role, Text
from pixsearch.config import EncoderOptions, PretrainOptions
from pixsearch.images import pixels
from pixsearch.miniature.appearance import (
    FOUNDATION_SEED,
    KINDS,
    Appearance,
    draw_appearance,
)
from pixsearch.miniature.descriptions import cell
from pixsearch.miniature.entities import Entity, Split, draw_entities
from pixsearch.miniature.foundation.alignment import whiten_projector
from pixsearch.miniature.foundation.assembly import assemble
from pixsearch.miniature.foundation.augmentation import augment
from pixsearch.miniature.foundation.bank import (
    ATTRIBUTES,
    EntityBank,
    SceneBank,
    build_entities,
    build_scenes,
    plan_scene,
)
from pixsearch.miniature.foundation.conversations import Teacher
from pixsearch.miniature.foundation.induction import draw_with_induction
from pixsearch.miniature.foundation.language_model import language_model_config
from pixsearch.miniature.foundation.lessons import Lessons
from pixsearch.miniature.foundation.loop import pretrain
from pixsearch.miniature.foundation.run import pretrain_miniature
from pixsearch.miniature.foundation.segmenter import build_segmenter
from pixsearch.miniature.foundation.tokenizer import train_tokenizer
from pixsearch.miniature.foundation.tower import NOTHING, patch_targets, tower_config
from pixsearch.miniature.scenes import Scene
from pixsearch.miniature.templates import DONT_KNOW, QUESTIONS
from pixsearch.miniature.vocabulary import MATERIALS
from pixsearch.retrieval.encoders import open_image_encoder
from pixsearch.tokens import add_special_tokens, find_token_ids

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "assets" / "miniature"


@pytest.fixture(scope="module")
def entities() -> EntityBank:
    return build_entities(num_entities=9, seed=FOUNDATION_SEED, side=128, num_views=1)


@pytest.fixture(scope="module")
def scenes(entities: EntityBank) -> SceneBank:
    return build_scenes(entities, num_scenes=6, seed=FOUNDATION_SEED, side=128)


def build_looks(count: int) -> list[Appearance]:
    generator = np.random.default_rng(0)
    kinds = generator.choice(KINDS, size=count)
    return [draw_appearance(generator, kind=str(k), for_foundation=True) for k in kinds]


@pytest.mark.slow
def test_banks_draw_from_their_half_alone(entities: EntityBank) -> None:
    assert all(appearance.is_for_foundation for appearance in entities.appearances)
    assert (entities.look_alike >= 0).any()


def test_seeds_of_evaluated_worlds_are_refused() -> None:
    with pytest.raises(ValueError, match="pre-training draws worlds"):
        build_entities(num_entities=2, seed=FOUNDATION_SEED - 1, side=128)


@pytest.mark.slow
def test_patch_targets_say_what_covers_a_patch(scenes: SceneBank) -> None:
    planes = torch.from_numpy(np.stack([scenes.places, scenes.words], axis=1)).long()
    targets = patch_targets(planes, torch.from_numpy(scenes.looks))
    assert targets["row"][0, 9] == 1
    assert targets["column"][0, 9] == 1
    shown = targets["presence"] > 0
    assert shown.any(-1).all()
    assert (targets["kind"][shown] == targets["presence"][shown] - 1).all()
    for name in ATTRIBUTES:
        assert (targets[name][~shown] == NOTHING).all()


def test_augmentation_moves_picture_and_labels_together() -> None:
    images = torch.zeros(4, 128, 128, 3, dtype=torch.uint8)
    images[:, 40:90, 30:80] = 200
    planes = (images[..., :1] > 0).permute(0, 3, 1, 2).to(torch.uint8)
    pixels, labels = augment(images, planes, torch.Generator().manual_seed(0))
    bright = pixels.mean(1) > 90
    overlap = (bright & (labels[:, 0] > 0)).sum((1, 2)) / (bright | (labels[:, 0] > 0)).sum((1, 2))
    assert overlap.min() > 0.95
    assert not torch.equal(labels[0], labels[1])


def test_an_interrupted_pre_training_ends_where_the_whole_one_does(tmp_path: Path) -> None:
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))

    def run(folder: Path, stops: tuple[int, ...]) -> torch.Tensor:
        for stop in stops:
            torch.manual_seed(0)
            module = torch.nn.Linear(4, 1)

            def losses(step: int, module: torch.nn.Linear = module, stop: int = stop) -> dict:
                if step == stop:
                    raise KeyboardInterrupt
                return {"square": module(inputs[step]).square().mean()}

            try:
                pretrain(module, losses, steps=20, lr=0.1, folder=folder, save_every=5)
            except KeyboardInterrupt:
                continue
        return module.weight.detach()

    whole = run(tmp_path / "whole", (99,))
    torch.testing.assert_close(run(tmp_path / "cut", (7, 13, 99)), whole, rtol=0, atol=0)


def test_segmenter_draws_its_positions_as_sam_does() -> None:
    segmenter = build_segmenter(0)
    matrix = segmenter.shared_image_embedding.positional_embedding
    assert 0.7 < matrix.std() < 1.3
    assert matrix is segmenter.prompt_encoder.shared_embedding.positional_embedding


def test_a_whitened_projector_sees_every_direction_of_the_patches() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.logspace(-1.5, 1.5, 24)  # variances a million apart
    patches = 3 + torch.randn(50, 40, 24, generator=generator) * spread
    config = LlavaConfig(
        vision_config={"hidden_size": 24, "model_type": "clip_vision_model"},
        text_config={"hidden_size": 32, "model_type": "llama"},
    )
    projector = LlavaMultiModalProjector(config)
    whiten_projector(projector, patches)
    seen = projector.linear_1(patches).flatten(0, 1)
    assert seen.mean(0).abs().max() < 1e-3
    variances = torch.linalg.svdvals(seen - seen.mean(0)).square() / len(seen)
    assert variances[0] < 1.1
    assert variances[11] > 0.5  # directions above the floor weigh alike
    assert variances[24:].max() < 1e-6


@pytest.mark.slow
def test_pre_training_talks_of_pictures_without_search_or_mask(entities: EntityBank) -> None:
    scene = plan_scene(entities.appearances, 0, seed=FOUNDATION_SEED)
    teacher = Teacher(entities.appearances, seed=FOUNDATION_SEED)
    conversation = teacher.about_scene(scene, np.random.default_rng(0))
    answers = [m.parts for m in conversation.messages if m.role is Role.ASSISTANT]
    assert all(isinstance(part, Text) for parts in answers for part in parts)
    told = " ".join(parts[0].text for parts in answers)
    shown = [member for member in scene.placed if cell(member) in told]
    assert len(shown) >= len(scene.placed) / 2


def test_readings_hold_their_answer_or_none() -> None:
    looks = build_looks(200)
    with pytest.raises(ValueError, match="pre-training reads worlds"):
        Teacher(looks, seed=FOUNDATION_SEED - 1)
    teacher, generator = Teacher(looks, seed=FOUNDATION_SEED), np.random.default_rng(0)
    answers = []
    for _ in range(20):
        messages = teacher.reading(generator).messages
        text = messages[0].parts[0].text
        answers += [m.parts[0].text for m in messages if m.role is Role.ASSISTANT]
        assert all(answer == DONT_KNOW or answer in text for answer in answers[-6:])
    assert 0.1 < answers.count(DONT_KNOW) / len(answers) < 0.5


def test_articles_behind_a_question_hold_its_answer_or_none() -> None:
    looks = build_looks(200)
    teacher, generator = Teacher(looks, seed=FOUNDATION_SEED), np.random.default_rng(0)
    answers = []
    for _ in range(20):
        messages = teacher.articles_to_read(generator).messages
        read = ""
        for asked, answered in zip(messages[::2], messages[1::2], strict=True):
            text, answer = asked.parts[0].text, answered.parts[0].text
            read = text if " is a " in text else read
            assert answer == DONT_KNOW or answer in read
            answers.append(answer)
    assert 0.05 < answers.count(DONT_KNOW) / len(answers) < 0.5


def test_articles_beside_a_picture_hold_what_its_labels_say() -> None:
    looks = build_looks(200)
    teacher, generator = Teacher(looks, seed=FOUNDATION_SEED), np.random.default_rng(0)
    for number in range(20):
        scene = plan_scene(looks, number, seed=FOUNDATION_SEED)
        conversation = teacher.picture_with_articles(scene, generator)
        assert conversation.has_image
        text = conversation.messages[0].parts[0].text
        for member in scene.placed:
            name = teacher.entities[member.entity_id].name
            if f"{name} is made of" in text and member.label in MATERIALS:
                assert f"{name} is made of {member.label}." in text


@pytest.mark.parametrize("place", [0, 3, None])
def test_one_article_of_five_holds_the_answer(place: int | None) -> None:
    looks = build_looks(200)
    teacher, generator = Teacher(looks, seed=FOUNDATION_SEED), np.random.default_rng(0)
    asked = 0
    for number in range(20):
        scene = plan_scene(looks, number, seed=FOUNDATION_SEED)
        conversation = teacher.with_article_at(scene, generator, place=place)
        if conversation is None:
            continue
        text, answer = (message.parts[0].text for message in conversation.messages)
        articles = re.split(r"(?<=[.?]) (?=\w+ is an? )", text)[1:]
        assert len(articles) == 5
        names = [each.name for each in shown_in(scene, teacher)]
        named = [article.split()[0] in names for article in articles]
        if place is None:
            assert answer == DONT_KNOW
            assert not all(named)
        else:
            assert answer in articles[place]
            assert named[place]
        asked += 1
    assert asked > 10


def shown_in(scene: Scene, teacher: Teacher) -> list[Entity]:
    return [teacher.entities[member.entity_id] for member in scene.placed]


def test_at_a_glance_only_what_is_shown_is_known() -> None:
    looks = build_looks(200)
    teacher, generator = Teacher(looks, seed=FOUNDATION_SEED), np.random.default_rng(0)
    answers = []
    for number in range(20):
        scene = plan_scene(looks, number, seed=FOUNDATION_SEED)
        messages = teacher.glances(scene, generator).messages
        told = [m.parts[0].text for m in messages if m.role is Role.ASSISTANT]
        hidden = {each.name for each in shown_in(scene, teacher)}
        hidden |= {str(each.year) for each in shown_in(scene, teacher)}
        assert not hidden & set(told)
        answers += told
    assert 0.2 < answers.count(DONT_KNOW) / len(answers) < 0.7


def test_an_answer_is_not_asked_for_twice_beside_a_picture() -> None:
    looks = build_looks(200)
    teacher, generator = Teacher(looks, seed=FOUNDATION_SEED), np.random.default_rng(0)
    for number in range(10):
        scene = plan_scene(looks, number, seed=FOUNDATION_SEED)
        messages = teacher.picture_with_articles(scene, generator).messages
        told = [m.parts[0].text for m in messages if m.role is Role.ASSISTANT]
        rare = [answer for answer in told if answer not in (DONT_KNOW, "yes", "no")]
        assert len(rare) == len(set(rare))


@pytest.mark.slow
def test_a_scene_of_which_there_is_nothing_to_tell_is_passed_over(entities: EntityBank) -> None:
    tokenizer = train_tokenizer()
    add_special_tokens(tokenizer)
    lessons = Lessons(
        entities=entities,
        patches=torch.zeros(3, 64, 4),
        teacher=Teacher(entities.appearances, seed=FOUNDATION_SEED),
        renderer=ChatRenderer(
            tokenizer, find_token_ids(tokenizer, image_token_id=0), num_image_tokens=64
        ),
        seed=FOUNDATION_SEED,
    )
    nothing = Conversation(messages=(), has_image=True)
    told = iter([nothing, Conversation.question("What is it?", has_image=True)])
    example = lessons._about_scene(lambda *_: next(told), iter([2, 1]), np.random.default_rng(0))
    assert example.image_id == "1"


@pytest.mark.slow
@torch.inference_mode()
def test_the_language_model_copies_before_it_is_trained() -> None:
    torch.manual_seed(0)
    config = language_model_config(tower_config(), train_tokenizer()).text_config
    llama = LlamaForCausalLM(config)
    draw_with_induction(llama.model)
    generator = torch.Generator().manual_seed(0)
    once = torch.randint(config.vocab_size, (8, 100), generator=generator)
    tokens = torch.cat([once, once], dim=1)
    right = llama(tokens, use_cache=False).logits[:, 100:-1].argmax(-1) == tokens[:, 101:]
    assert right.float().mean() > 0.6  # chance: below 0.001


@pytest.mark.slow
def test_tokenizer_gives_back_its_text_and_splits_numbers() -> None:
    tokenizer = train_tokenizer()
    for text in (" Velmora made it of jade in 1420.", *QUESTIONS["name"][Split.eval]):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids).strip() == text.strip()
    assert [tokenizer.decode(id) for id in tokenizer.encode(" in 1420")] == [" in", " 14", "20"]
    names = [entity.name for entity in draw_entities(seed=3, count=400).values()]
    lengths = [len(tokenizer.encode(name)) for name in names]
    assert lengths.count(2) > 0.9 * len(lengths)


def test_committed_parts_are_assembled_and_agree_with_the_retriever(tmp_path: Path) -> None:
    """The retriever's open_clip has the tower's weights: the same vectors to 1e-5."""
    parts = tmp_path / "parts"
    assemble(COMMITTED, parts)
    tower = CLIPVisionModelWithProjection.from_pretrained(
        COMMITTED / "tower", dtype=torch.float32
    ).eval()
    assert AutoTokenizer.from_pretrained(parts / "language_model").pad_token is not None
    image = Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    )
    encoder = open_image_encoder(
        EncoderOptions(name="open_clip", model=str(parts / "open_clip"), dimension=128)
    )
    with torch.inference_mode():
        values = pixels(image, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)[None]
        expected = torch.nn.functional.normalize(tower(pixel_values=values).image_embeds, dim=-1)
    np.testing.assert_allclose(encoder.encode_image([image]), expected.numpy(), atol=1e-5)


def test_weights_are_small_and_their_hashes_are_those_of_the_card() -> None:
    card = (COMMITTED / "README.md").read_text()
    files = sorted(COMMITTED.glob("*/model.safetensors"))
    assert [file.parent.name for file in files] == ["language_model", "segmenter", "tower"]
    assert sum(file.stat().st_size for file in files) < 10e6
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() in card


@pytest.mark.slow
def test_the_whole_recipe_runs_and_its_parts_are_assembled(tmp_path: Path) -> None:
    made, parts = tmp_path / "made", tmp_path / "parts"
    options = PretrainOptions(
        output_dir=str(made),
        num_entities=60,
        num_scenes=70,  # a step of the tower draws 64
        tower_steps=2,
        segmenter_steps=2,
        language_model_steps=2,
    )
    figures = pretrain_miniature(options)
    named = {"kind_accuracy", "mask_iou", "cells", "cells_with_another_picture"}
    assert named | {"answers_without_article"} <= figures.keys()
    assert all(name in (made / "README.md").read_text() for name in figures)
    assemble(made, parts)
    assert {path.name for path in parts.iterdir() if path.is_dir()} == {
        "language_model",
        "segmenter",
        "open_clip",
    }
