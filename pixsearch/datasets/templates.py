"""The words of grounding questions and answers, and the choice among them.

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
