"""The miniature's tokenizer: byte-level BPE, digits in pairs, a syllable of a name one token."""

import re
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pixsearch.datasets.templates import ANSWERS
from pixsearch.datasets.templates import QUESTIONS as GROUNDING_QUESTIONS
from pixsearch.miniature.appearance import COLOURS, FOUNDATION_SEED, KINDS
from pixsearch.miniature.descriptions import CELLS
from pixsearch.miniature.entities import SYLLABLES, Entity, Split, article, draw_entities
from pixsearch.miniature.templates import DONT_KNOW, QUESTIONS

PAD, END, IMAGE = "<pad>", "</s>", "<image>"
_VOCABULARY = 1408
_WORLDS = 4
_REPEATS = 40  # of the wordings, so that their words become single tokens


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Names split into syllables; the words of questions and articles are mostly whole."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=True),
            pre_tokenizers.Split(Regex(r"Ġ?\d{2}"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[PAD, END, IMAGE],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        clean_up_tokenization_spaces=False,
    )


def cell_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The one token of each cell, in the order of the tower's patches."""
    return [tokenizer.encode(cell)[0] for cell in CELLS]


def _texts() -> Iterator[str]:
    for world in range(_WORLDS):
        entities = draw_entities(seed=FOUNDATION_SEED + world, count=480)
        for entity in entities.values():
            if entity.known:
                yield _without_names(article(entity, entities), entity, entities)
    for _ in range(_REPEATS):
        yield " ".join(syllable.capitalize() for syllable in SYLLABLES)
        yield "-".join(SYLLABLES)
        yield " ".join(f"{number:02d}" for number in range(100))
        yield "-".join(f"{number:02d}" for number in range(100))
        yield " ".join(CELLS)
    words = [f"the {colour} {kind} on the left" for colour in COLOURS for kind in KINDS]
    for _ in range(_REPEATS):
        forms = [form for forms in QUESTIONS.values() for form in forms[Split.train]]
        yield from (
            re.sub(r"{\w+}", "-", form) for form in (*forms, *GROUNDING_QUESTIONS, *ANSWERS)
        )
        yield from (*words, DONT_KNOW)
        yield "USER: ASSISTANT: yes no the object on the far right to the left of and , ."


def _without_names(text: str, entity: Entity, entities: dict[str, Entity]) -> str:
    """Else merges across the syllables of a name would be learned."""
    names = [entity.name, *([entities[entity.maker_id].name] if entity.maker_id else [])]
    for name in names:
        text = text.replace(name, "-")
    return text
