"""What options of benchmarks and judges choose from."""

from enum import StrEnum


class MaskMode(StrEnum):
    """Whose words lead to the masks that are scored; the two are not comparable."""

    free_running = "free_running"  # the model's own
    teacher_forced = "teacher_forced"  # given to it (LISA, GLaMM, PLUM)


class UncoveredPixels(StrEnum):
    """Of a label map: what a pixel becomes where every class's mask is less likely than not."""

    likeliest = "likeliest"  # the class of the likeliest mask all the same
    no_class = "no_class"  # wrong


class CocoStuffClasses(StrEnum):
    """Which classes of COCO-Stuff are asked for; the others' pixels count as of unknown class."""

    all171 = "all171"
    lisa143 = "lisa143"  # those that LISA and PLUM keep: no name with a hyphen


class CragMMProtocol(StrEnum):
    """Which of CRAG-MM's two official scorers is followed."""

    kit = "kit"  # the KDD Cup's starter kit: turns after two failures count as missing everywhere
    paper = "paper"  # facebookresearch/CRAG-MM: they do so in the conversation score alone


class EntityLookup(StrEnum):
    """How OVEN's scorer makes an entity's id of an answer."""

    exact_title = "exact_title"  # the title itself, but for case and white space
    bm25 = "bm25"  # the same; or else the title that shares most words with it


class JudgeKind(StrEnum):
    """Who gives verdicts on answers (pixsearch/evaluation/judging/)."""

    endpoint = "endpoint"  # an OpenAI-compatible server
    local = "local"  # a causal language model of transformers on this machine
    rules = "rules"  # normalised exact match, offline
