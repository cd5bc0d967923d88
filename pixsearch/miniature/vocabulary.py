"""The closed sets of words that facts and labels draw from."""

MATERIALS = ("jade", "iron", "clay", "bone", "zinc", "teak", "wool", "opal", "lead", "cork")
COUNTRIES = ("Oslu", "Veld", "Mira", "Tarn", "Kesh", "Druv", "Zale", "Pell", "Quor", "Ibex")
LABEL_WORDS = tuple(word.lower() for word in MATERIALS + COUNTRIES)
