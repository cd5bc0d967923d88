"""The words of questions and answers about masks, and the choice among them.

`{phrases}` stands for one phrase or for several ("a, b and c"), so every form suits both. The
choice hangs on a hash of the example's id: the same words in every run, process and pass.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

from pixsearch.chat import Grounded, Part, Text

Choice = TypeVar("Choice")

QUESTIONS = (
    "Segment {phrases}.",
    "Please outline {phrases} in this image.",
    "Which pixels belong to {phrases}?",
    "Can you mark {phrases} for me?",
    "Find {phrases} and draw a mask.",
    "Show me where to see {phrases}.",
    "I am looking for {phrases}; highlight what you find.",
    "Separate {phrases} from the rest of the picture.",
    "Give me a mask for {phrases}.",
    "In this photo, locate {phrases}.",
    "Point out {phrases}, to the pixel.",
    "Cut out {phrases}, please.",
)

ANSWERS = (
    "Here: {phrases}.",
    "I marked {phrases}.",
    "Sure: {phrases}.",
    "In the picture I see {phrases}.",
    "The pixels belong to {phrases}.",
    "You asked for {phrases}.",
    "I found {phrases}.",
    "This is what I outlined: {phrases}.",
    "Highlighted: {phrases}.",
    "The mask covers {phrases}.",
    "My answer is {phrases}.",
    "{phrases}.",
)

# A question that is a sentence already ("What would one sit on?"), and what asks for its mask.
SENTENCE_QUESTIONS = (
    "{sentence} Please segment it.",
    "{sentence} Answer with a mask.",
    "{sentence} Outline it in the image.",
    "{sentence} Show me the pixels.",
    "{sentence} Mark it for me.",
    "{sentence} Where is it in this picture?",
    "Look at the image. {sentence} Point it out, to the pixel.",
    "{sentence} Highlight what you mean.",
    "{sentence} Find it and draw a mask.",
    "Read this, then look: {sentence} Cut it out of the photo.",
    "{sentence} I need its outline.",
)

# What a sentence asks for has no name in the annotation; these words stand for it.
SENTENCE_ANSWERS = (
    ("It is ", "this", "."),
    ("I mean ", "this part of the image", "."),
    ("Look at ", "the marked region", "."),
    ("The answer is ", "this area", "."),
    ("That would be ", "this one", "."),
    ("I would say ", "this", "."),
    ("What fits best is ", "what I outlined", "."),
    ("You are asking for ", "this region", "."),
    ("In this picture it is ", "the part that I marked", "."),
    ("I found it: ", "this spot", "."),
    ("", "This", " is what you describe."),
)

REASONS = (
    "Explain why.",
    "Say why.",
    "Give your reasons.",
    "How do you know?",
    "What makes you think so?",
    "Please add an explanation.",
    "Tell me the reason as well.",
    "And explain your choice.",
    "Justify your answer.",
    "Why is that so?",
)


def pick(choices: Sequence[Choice], key: str) -> Choice:
    """The choice that a key stands for; evenly spread over keys, the same on every machine.

    >>> pick("abc", "some id") == pick("abc", "some id")
    True
    """
    digest = blake2b(key.encode("utf-8"), digest_size=8).digest()
    return choices[int.from_bytes(digest, "big") % len(choices)]


def ask(phrases: Sequence[str], *, key: str) -> str:
    """A question for the masks of `phrases`."""
    *firsts, last = phrases
    listed = f"{', '.join(firsts)} and {last}" if firsts else last
    return pick(QUESTIONS, f"question/{key}").replace("{phrases}", listed)


def reply(phrases: Sequence[str], *, key: str) -> tuple[Part, ...]:
    """An answer that grounds `phrases` in their order; its parts, joined, are the sentence."""
    before, after = pick(ANSWERS, f"answer/{key}").split("{phrases}")
    parts: list[Part] = [Text(text=before)]
    for index, phrase in enumerate(phrases):
        if index:
            parts.append(Text(text=" and " if index == len(phrases) - 1 else ", "))
        parts.append(Grounded(phrase=phrase))
    parts.append(Text(text=after))
    return tuple(part for part in parts if not isinstance(part, Text) or part.text)


def ask_with_sentence(sentence: str, *, key: str) -> str:
    """A question for the mask of what a sentence asks for."""
    return pick(SENTENCE_QUESTIONS, f"question/{key}").replace("{sentence}", sentence)


def reply_to_sentence(*, key: str) -> tuple[Part, ...]:
    """An answer that grounds a word in place of what a sentence asks for."""
    before, phrase, after = pick(SENTENCE_ANSWERS, f"answer/{key}")
    parts = (Text(text=before), Grounded(phrase=phrase), Text(text=after))
    return tuple(part for part in parts if not isinstance(part, Text) or part.text)


def ask_for_reasons(*, key: str) -> str:
    """What is put behind a question whose answer is to be explained."""
    return pick(REASONS, f"reasons/{key}")
