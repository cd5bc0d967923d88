"""The paper's figures (arXiv 2601.19060, tables 1, 6 and 7), printed beside ours."""

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
