"""Normalisers of answers, each as one benchmark's script has it. No metric has another of its own.

They differ where it changes scores: `squad` joins what a hyphen parts ("re-entry" → "reentry"),
`vqa` parts it, and `evalai` also parts a possessive from its word.
"""

import re
import string
import unicodedata
from collections.abc import Callable

Normaliser = Callable[[str], str]

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")

_NUMBER_WORDS = "zero one two three four five six seven eight nine ten"
NUMBERS = {"none": "0"} | {word: str(value) for value, word in enumerate(_NUMBER_WORDS.split())}
"""Number words that VQA's scripts write as digits."""

_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
    might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
    you've
"""


def _without_one_apostrophe(word: str) -> list[str]:
    places = [place for place, character in enumerate(word) if character == "'"]
    return [word[:place] + word[place + 1 :] for place in places]


CONTRACTIONS = {
    spelling: word for word in _CONTRACTIONS.split() for spelling in _without_one_apostrophe(word)
} | {"somebody'd": "somebodyd"}
"""A contraction that lacks an apostrophe → the contraction. The last one is the scripts' own."""

_VQA_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_VQA_PERIODS = 32  # as many go: the script passes a flag (re.UNICODE) where re.sub takes a count
_EVQA_PUNCTUATION = str.maketrans("", "", string.punctuation + "\u2018\u2019\u00b4")
_EVQA_WORDS = NUMBERS | {"entailment": "yes", "true": "yes", "contradiction": "no", "false": "no"}
_EVQA_PREFIX = "<extra_id_0> "  # T5's first span


def squad(text: str) -> str:
    """Lower case, without punctuation and articles, single spaces.

    SQuAD's, used by HotpotQA, MuSiQue, InfoSeek, KILT, FlashRAG and our own judge.

    >>> squad("  The Velkor-Lamp, ")
    'velkorlamp'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def nq_open(text: str) -> str:
    """`squad` of the decomposed text (NFD), so that two encodings of é are one (NQ-open).

    >>> nq_open("Beyonc\\u00e9") == nq_open("Beyonce\\u0301"), nq_open("Beyonc\\u00e9") == "beyonce"
    (True, False)
    """
    return squad(unicodedata.normalize("NFD", text))


def caseless(text: str) -> str:
    """Lower case without punctuation, white space as it is (lmms-eval's GQA).

    >>> caseless("Yes.")
    'yes'
    """
    return text.lower().translate(_NO_PUNCTUATION)


def verbatim(text: str) -> str:
    """The text as it is (A-OKVQA, GQA's own script).

    >>> verbatim("Red ")
    'Red '
    """
    return text


def vqa(text: str) -> str:
    """VQA's own: punctuation, number words, articles and contractions.

    >>> vqa("The two  dogs, dont they?"), vqa("t-shirt"), vqa("1,000 t-shirts")
    ("2 dogs don't they", 't shirt', '1000 tshirts')
    """
    return _vqa_words(_vqa_punctuation(one_line(text)))


def evalai(text: str) -> str:
    """The EvalAI server's, for TextVQA: `vqa` of a text that lost case, commas and possessives.

    >>> evalai("John's car"), vqa("John's car")
    ("john 's car", "john's car")
    """
    lowered = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return vqa(lowered.strip())


def encyclopedic_vqa(text: str) -> str:
    """Encyclopedic-VQA's: `squad` that also drops "the answer is" and maps number and truth words.

    >>> encyclopedic_vqa("The answer is: True"), encyclopedic_vqa("three o'clock")
    ('yes', "3 o'clock")
    """
    line = one_line(text.lower())
    if line.startswith(_EVQA_PREFIX):
        line = line.replace(_EVQA_PREFIX, "")
    plain = re.sub(r"\b(the answer is|a|an|the)\b", " ", line.translate(_EVQA_PUNCTUATION))
    words = (_EVQA_WORDS.get(word, word) for word in plain.split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words)


def one_line(text: str) -> str:
    """The text with spaces for line ends and tabs, and none around it.

    >>> one_line(" a\\nb ")
    'a b'
    """
    return text.replace("\n", " ").replace("\t", " ").strip()


def _vqa_punctuation(text: str) -> str:
    """A mark that touches a space anywhere is dropped, any other becomes a space; where a comma
    stands between digits all marks are dropped."""
    found = text
    has_grouped_digits = re.search(r"\d,\d", text) is not None
    for mark in _VQA_PUNCTUATION:
        is_dropped = has_grouped_digits or f"{mark} " in text or f" {mark}" in text
        found = found.replace(mark, "" if is_dropped else " ")
    return re.sub(r"\.(?!\d)", "", found, count=_VQA_PERIODS)


def _vqa_words(text: str) -> str:
    words = (NUMBERS.get(word, word) for word in text.lower().split())
    kept = (word for word in words if word not in ("a", "an", "the"))
    return " ".join(CONTRACTIONS.get(word, word) for word in kept)
