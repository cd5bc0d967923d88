"""The closed sets of words that facts and labels draw from."""

from itertools import permutations

MATERIALS = ("jade", "iron", "clay", "bone", "zinc", "teak", "wool", "opal", "lead", "cork")
COUNTRIES = ("Oslu", "Veld", "Mira", "Tarn", "Kesh", "Druv", "Zale", "Pell", "Quor", "Ibex")
LABEL_WORDS = MATERIALS + COUNTRIES
LABEL_COLOURS = dict(
    zip(LABEL_WORDS, permutations(("red", "yellow", "green", "blue", "purple"), 2), strict=True)
)
"""Left and right half of each word's plate."""
