"""The miniature's tokenizer: byte-level BPE, digits one by one, learned on worlds of high seeds."""

from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pixsearch.datasets.templates import ANSWERS
from pixsearch.datasets.templates import QUESTIONS as GROUNDING_QUESTIONS
from pixsearch.miniature.appearance import COLOURS, FOUNDATION_SEED, KINDS
from pixsearch.miniature.entities import Split, article, draw_entities
from pixsearch.miniature.templates import DONT_KNOW, QUESTIONS

PAD, END, IMAGE = "<pad>", "</s>", "<image>"
_VOCABULARY = 1024
_WORLDS = 4
_REPEATS = 40  # of the wordings, so that their words become single tokens


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Names split into syllables or so; the words of questions and articles are mostly whole."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=True),
            pre_tokenizers.Digits(individual_digits=True),
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


def _texts() -> Iterator[str]:
    for world in range(_WORLDS):
        entities = draw_entities(seed=FOUNDATION_SEED + world, count=480)
        for entity in entities.values():
            if entity.known:
                yield article(entity, entities)
    words = [f"the {colour} {kind} on the left" for colour in COLOURS for kind in KINDS]
    for _ in range(_REPEATS):
        yield from (form for forms in QUESTIONS.values() for form in forms[Split.train])
        yield from (*GROUNDING_QUESTIONS, *ANSWERS, *words, DONT_KNOW)
        yield "USER: ASSISTANT: yes no the object on the far right to the left of and , ."
