"""The paper's figures (arXiv 2601.19060, tables 1 to 7, figure 4), which are printed beside ours.

Some contradict each other; `contradictions` says which, and nobody chases them.
"""

SCORES = ("truthfulness", "accuracy", "missing", "hallucination")
GROUPS = ("overall", "egocentric", "non_egocentric")

Percent = tuple[float, float, float, float]

# Per policy: overall, egocentric, non-egocentric; each in the order of SCORES, in percent.
# Some rows do not sum to 100 in print (full non-egocentric, the budgets).
PAPER: dict[str, tuple[Percent, Percent, Percent]] = {
    "no_search": ((-40.4, 19.8, 20.0, 60.2), (-47.8, 15.7, 20.8, 63.5), (-18.8, 31.7, 17.8, 50.5)),
    "text_query": ((-44.5, 18.2, 19.1, 62.7), (-52.5, 12.2, 20.1, 67.7), (-14.8, 34.4, 16.4, 49.2)),
    "whole_image": ((-19.0, 31.5, 18.1, 50.5), (-27.6, 26.7, 19.0, 54.3), (5.1, 44.8, 15.5, 39.7)),
    "full": ((-3.0, 37.7, 21.6, 40.7), (-11.7, 33.0, 22.3, 44.7), (20.5, 45.9, 18.7, 25.4)),
    "no_region": ((-14.5, 31.9, 21.7, 46.4), (-23.0, 27.5, 22.0, 50.5), (8.0, 43.5, 21.0, 35.5)),
    "no_text": ((-6.3, 35.9, 21.9, 42.2), (-11.9, 32.8, 22.5, 44.7), (8.5, 44.0, 20.5, 35.5)),
    "no_image": ((-7.5, 34.7, 23.1, 42.3), (-13.0, 32.0, 23.0, 45.0), (7.0, 42.0, 23.0, 35.0)),
    "only_region": ((-6.4, 35.9, 21.9, 42.3), (-12.2, 32.6, 22.6, 44.8), (9.0, 44.5, 20.0, 35.5)),
    "only_text": ((-44.4, 18.3, 19.1, 62.6), (-55.5, 12.2, 20.1, 67.7), (-14.8, 34.3, 16.5, 49.2)),
    "only_image": ((-18.7, 31.7, 18.0, 50.3), (-27.6, 26.7, 19.0, 54.3), (5.1, 44.8, 15.5, 39.7)),
    "budget_1": ((-7.9, 32.1, 21.8, 43.3), (-16.5, 28.0, 22.9, 49.1), (15.0, 43.0, 18.9, 28.0)),
    "budget_2": ((-3.5, 35.8, 21.6, 39.9), (-12.4, 32.0, 22.8, 45.2), (20.0, 46.0, 18.4, 26.0)),
    "budget_3": ((-3.0, 36.4, 21.5, 39.5), (-12.0, 32.7, 22.6, 44.7), (20.8, 46.2, 18.5, 25.7)),
    "budget_4": ((-2.9, 36.5, 21.4, 39.4), (-11.8, 32.9, 22.5, 44.6), (20.6, 46.0, 18.6, 25.6)),
}

SYSTEMS: dict[str, tuple[Percent, Percent, Percent]] = {
    "llama_no_search": (
        (-16.9, 24.4, 34.4, 41.3),
        (-22.5, 21.0, 35.5, 43.5),
        (0.1, 34.2, 31.7, 34.1),
    ),
    "llama_whole_image": (
        (-8.6, 35.3, 20.3, 43.9),
        (-17.0, 31.0, 21.0, 48.0),
        (11.5, 46.6, 18.3, 35.1),
    ),
    "pipeline": ((-30.4, 23.4, 22.8, 53.8), (-41.7, 18.1, 22.0, 59.8), (-23.6, 25.7, 25.0, 49.3)),
    "llava_13b": ((-69.0, 10.3, 10.4, 79.3), (-72.8, 8.1, 11.0, 80.9), (-59.1, 16.1, 8.7, 75.2)),
    "plum_13b": ((-35.2, 25.3, 14.5, 60.5), (-43.2, 20.5, 15.8, 63.7), (-10.1, 39.4, 11.0, 49.5)),
}
"""The rows of table 1 that are no PixSearch; shaped like `PAPER`."""

SEMANTIC: dict[str, tuple[float, ...]] = {
    "maskformer": (52.70, 47.02),
    "plum_13b": (55.08, 49.97),
    "1to9": (9.85, 11.07),
    "5to9": (47.19, 42.55),
    "7to9": (55.98, 49.81),
}
"""Table 2, mIoU: ADE20K, COCO-Stuff. Mixtures: samples of stage 1 to those of stage 2."""

REFERRING: dict[str, tuple[float, ...]] = {
    "lisa_7b": (74.1, 76.5, 71.1, 66.4, 68.5, 62.4, 67.4),
    "glamm": (79.5, 83.2, 76.9, 74.2, 74.9, 72.6, 78.7),
    "1to9": (15.3, 13.4, 11.2, 9.7, 10.2, 13.6, 12.3),
    "7to9": (78.9, 79.3, 72.7, 69.8, 70.9, 65.9, 69.9),
}
"""Table 3, gIoU: RefCOCO val, testA, testB; RefCOCOg val(U), test(U); RefCOCO+ val, testA."""

TEXT_QA: dict[str, tuple[float, ...]] = {
    "llava_13b": (8.33, 10.25, 10.18, 11.06, 4.70, 7.98, 5.70, 6.35),
    "plum_13b": (15.30, 18.80, 15.00, 18.35, 7.40, 9.58, 6.60, 8.43),
    "no_search": (23.50, 26.79, 30.05, 32.90, 17.20, 17.66, 9.80, 12.69),
    "full": (26.20, 27.79, 30.90, 33.38, 31.60, 32.18, 11.50, 12.75),
}
"""Table 4, EM and F1 of each: HotpotQA, NQ, PopQA, MuSiQue."""

VQA: dict[str, tuple[float, ...]] = {
    "llava_13b": (22.84, 26.15, 13.94, 14.98, 2.20, 3.12),
    "plum_13b": (30.11, 32.62, 15.60, 16.54, 2.64, 3.81),
    "no_search": (32.76, 34.55, 18.34, 19.40, 3.82, 5.45),
    "text_query": (30.87, 32.90, 20.73, 22.30, 5.27, 6.83),
    "whole_image": (32.30, 34.13, 24.28, 26.05, 15.31, 17.08),
    "full": (32.44, 35.10, 24.55, 26.62, 15.88, 17.00),
}
"""Table 5, EM and F1 of each: TextVQA, InfoSeek, OVEN."""

MOSTLY: dict[str, tuple[int, int]] = {"egocentric": (3, 4), "non_egocentric": (2, 3)}
"""Figure 4: how often answers mostly search, by kind of image. Region is the most used type."""

TEXT_SHARE = 0.25  # figure 4: of the searches about egocentric images, "about a quarter"

TOLERANCE = 0.6  # percentage points by which rounding may miss a sum

CONTROLS = ("gold_region", "random_region", "other_region", "shuffled_passages")
POLICY_ORDER = (*PAPER, "pipeline", *CONTROLS)


def paper_score(policy: str, group: str, score: str) -> float | None:
    """A figure of the paper as a fraction; None where it has none.

    >>> paper_score("full", "overall", "accuracy")
    0.377
    """
    if policy not in PAPER:
        return None
    return round(PAPER[policy][GROUPS.index(group)][SCORES.index(score)] / 100, 4)


def contradictions(percent: Percent) -> tuple[str, ...]:
    """What four printed scores of one group say that cannot be.

    >>> contradictions((20.5, 45.9, 18.7, 25.4))
    ('accuracy, missing and hallucination sum to 90.0 in print',)
    >>> contradictions((-52.5, 12.2, 20.1, 67.7))
    ('accuracy less hallucination is -55.5, truthfulness is printed as -52.5',)
    """
    truthfulness, accuracy, missing, hallucination = percent
    found = []
    total, difference = accuracy + missing + hallucination, accuracy - hallucination
    if abs(total - 100) > TOLERANCE:
        found.append(f"accuracy, missing and hallucination sum to {total:.1f} in print")
    if abs(difference - truthfulness) > TOLERANCE:
        found.append(
            f"accuracy less hallucination is {difference:.1f}, "
            f"truthfulness is printed as {truthfulness:.1f}"
        )
    return tuple(found)
