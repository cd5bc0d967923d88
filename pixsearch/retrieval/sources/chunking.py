"""Cuts a text into chunks of words, at the ends of sentences where there are any."""

import re

WORD = re.compile(r"\S+")
ENDS = (".", "!", "?")  # of a sentence
CLOSING = "\"'\u201d\u2019)]"  # what may stand behind them: quotes and brackets
NO_ENDS = """
Dr. Mr. Mrs. Ms. St. Mt. No. Jr. Sr. Inc. vs. c. ca. e.g. i.e. cf.
"""
ABBREVIATIONS = frozenset(NO_ENDS.split())
INITIAL = re.compile(r"^\W*(?:[A-Z]\.)+$")  # J. or U.S.


def chunk_text(text: str, *, words: int, overlap: int = 0) -> list[str]:
    """The chunks of a text in order, each a stretch of it with white space as it was.

    Words are counted between white space, so that a chunk is the same for every encoder and needs
    no tokenizer. A chunk has at most `words`; it ends with the last sentence or line that ends in
    its second half, else in the middle of a sentence. Each further chunk begins with the last
    `overlap` words of the one before it.

    >>> chunk_text("One two. Three four five. Six", words=4)
    ['One two.', 'Three four five. Six']

    Args:
        overlap: less than half of `words`.
    """
    assert 0 <= overlap < (words + 1) // 2
    spans = [match.span() for match in WORD.finditer(text)]
    chunks, start = [], 0
    while start < len(spans):
        end = _end(text, spans, start, words)
        chunks.append(text[spans[start][0] : spans[end - 1][1]])
        start = end if end == len(spans) else end - overlap
    return chunks


def _end(text: str, spans: list[tuple[int, int]], start: int, words: int) -> int:
    """Number of the first word behind the chunk that begins with word `start`."""
    longest = start + words
    if longest >= len(spans):
        return len(spans)
    shortest = start + (words + 1) // 2
    return next(
        (end for end in range(longest, shortest - 1, -1) if _is_boundary(text, spans, end)), longest
    )


def _is_boundary(text: str, spans: list[tuple[int, int]], end: int) -> bool:
    """Whether a sentence or line ends between word `end` - 1 and word `end`."""
    last = text[slice(*spans[end - 1])]
    if "\n" in text[spans[end - 1][1] : spans[end][0]]:
        return True
    return (
        last.rstrip(CLOSING).endswith(ENDS)
        and last not in ABBREVIATIONS
        and INITIAL.match(last) is None
        and not text[spans[end][0]].islower()
    )
