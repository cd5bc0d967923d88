"""Wordings of questions. Those of evaluation are not among those of training; their words are."""

from pixsearch.miniature.entities import Split

QUESTIONS: dict[str, dict[Split, tuple[str, ...]]] = {
    "name": {
        Split.train: (
            "What is the name of {x}?",
            "What is {x} called?",
            "Tell me the name of {x}.",
            "Tell me what the name of {x} is.",
            "Which name does {x} have?",
        ),
        Split.eval: ("What name does {x} have?", "Tell me what {x} is called."),
    },
    "material": {
        Split.train: (
            "What is {x} made of?",
            "Which material is {x} made of?",
            "Tell me the material of {x}.",
            "What material was used for {x}?",
            "Tell me which material {x} has.",
        ),
        Split.eval: ("What material is {x} made of?", "Tell me what {x} is made of."),
    },
    "country": {
        Split.train: (
            "Where is {x} kept?",
            "Which country is {x} kept in?",
            "Tell me the country of {x}.",
            "What country has {x}?",
            "Tell me where {x} is.",
        ),
        Split.eval: ("Tell me where {x} is kept.", "What country is {x} kept in?"),
    },
    "maker": {
        Split.train: (
            "Who made {x}?",
            "Which guild made {x}?",
            "Tell me the guild that made {x}.",
            "Tell me who the maker of {x} is.",
            "What guild is the maker of {x}?",
        ),
        Split.eval: ("Tell me who made {x}.", "Which guild is the maker of {x}?"),
    },
    "year": {
        Split.train: (
            "When was {x} made?",
            "In which year was {x} made?",
            "Tell me the year of {x}.",
            "What year was {x} made in?",
            "Do you know when {x} was made?",
        ),
        Split.eval: ("Tell me when {x} was made.", "Which year was {x} made in?"),
    },
    "maker_country": {
        Split.train: (
            "Which country is the maker of {x} from?",
            "Where does the maker of {x} come from?",
            "Tell me the country of the maker of {x}.",
            "What country does the guild that made {x} come from?",
        ),
        Split.eval: (
            "Which country does the maker of {x} come from?",
            "Tell me where the guild that made {x} is from.",
        ),
    },
    "older_maker_country": {
        Split.train: (
            "Of {x} and {y}, where does the maker of the older one come from?",
            "Which country is the maker of the older one from, {x} or {y}?",
            "Tell me the country of the maker of the older one of {x} and {y}.",
        ),
        Split.eval: (
            "Of {x} and {y}, which country is the maker of the older one from?",
            "Tell me where the maker of the older one is from, {x} or {y}.",
        ),
    },
    "guild_country": {
        Split.train: (
            "Which country is {x} from?",
            "Where does {x} come from?",
            "Tell me which country {x} comes from.",
            "What country is the guild {x} from?",
        ),
        Split.eval: ("Which country does {x} come from?", "Tell me where {x} is from."),
    },
    "colour": {
        Split.train: (
            "What colour is {x}?",
            "Which colour does {x} have?",
            "Tell me the colour of {x}.",
        ),
        Split.eval: ("What colour does {x} have?", "Tell me which colour {x} has."),
    },
    "count": {
        Split.train: (
            "How many {x} are there?",
            "Count the {x}.",
            "How many {x} can you see?",
            "How many {x} do you count?",
            "Tell me how many {x} you see.",
            "How many {x} are there in the picture?",
        ),
        Split.eval: ("Tell me how many {x} there are.", "How many {x} do you see?"),
    },
    "presence": {
        Split.train: (
            "Is there {x}?",
            "Can you see {x}?",
            "Is there {x} in the picture?",
            "Do you see {x} in the picture?",
        ),
        Split.eval: ("Do you see {x}?", "Can you see {x} in the picture?"),
    },
    "label": {
        Split.train: (
            "What does the label of {x} say?",
            "Which word is on the label of {x}?",
            "Tell me the word on the label of {x}.",
            "What is the word that the label of {x} says?",
        ),
        Split.eval: (
            "What is the word on the label of {x}?",
            "Tell me what the label of {x} says.",
        ),
    },
}

SEGMENTATION = "Please mark {x} in this picture."  # of the evaluation; training has others

DONT_KNOW = "I don't know"
