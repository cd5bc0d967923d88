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
            "Do you know what {x} is called?",
            "Can you say what {x} is called?",
            "Tell me which name {x} has.",
            "What is the name that {x} has?",
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
            "Do you know what {x} is made of?",
            "Can you say what {x} is made of?",
            "Tell me what material {x} is made of.",
            "Which material does {x} have?",
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
            "Do you know where {x} is kept?",
            "Can you say where {x} is kept?",
            "Tell me which country {x} is kept in.",
            "In what country is {x} kept?",
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
            "Do you know who made {x}?",
            "Can you say who made {x}?",
            "Tell me which guild is the maker of {x}.",
            "Who is the maker of {x}?",
            "What guild made {x}?",
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
            "Can you say when {x} was made?",
            "Tell me which year {x} was made in.",
            "What is the year of {x}?",
            "Do you know the year of {x}?",
        ),
        Split.eval: ("Tell me when {x} was made.", "Which year was {x} made in?"),
    },
    "maker_country": {
        Split.train: (
            "Which country is the maker of {x} from?",
            "Where does the maker of {x} come from?",
            "Tell me the country of the maker of {x}.",
            "What country does the guild that made {x} come from?",
            "Do you know where the guild that made {x} is from?",
            "Can you say which country the maker of {x} comes from?",
            "Tell me which country the guild that made {x} is from.",
            "Where is the maker of {x} from?",
            "What country does the maker of {x} come from?",
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
            "Do you know where the maker of the older one is from, {x} or {y}?",
            "Of {x} and {y}, what country does the maker of the older one come from?",
            "Can you say where the maker of the older one comes from, {x} or {y}?",
            "Tell me which country the maker of the older one of {x} and {y} is from.",
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
            "Do you know where {x} is from?",
            "Can you say where {x} is from?",
            "What country does {x} come from?",
            "Tell me what country {x} is from.",
            "Where is {x} from?",
        ),
        Split.eval: ("Which country does {x} come from?", "Tell me where {x} is from."),
    },
    "colour": {
        Split.train: (
            "What colour is {x}?",
            "Which colour does {x} have?",
            "Tell me the colour of {x}.",
            "Do you know which colour {x} has?",
            "Can you say what colour {x} is?",
            "Tell me what colour {x} is.",
            "Which colour is {x}?",
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
            "Can you say how many {x} there are?",
            "Do you know how many {x} there are?",
        ),
        Split.eval: ("Tell me how many {x} there are.", "How many {x} do you see?"),
    },
    "presence": {
        Split.train: (
            "Is there {x}?",
            "Can you see {x}?",
            "Is there {x} in the picture?",
            "Do you see {x} in the picture?",
            "Is {x} in the picture?",
            "Can you find {x}?",
            "Do you find {x} in the picture?",
            "Is there {x} that you can see?",
        ),
        Split.eval: ("Do you see {x}?", "Can you see {x} in the picture?"),
    },
    "label": {
        Split.train: (
            "What does the label of {x} say?",
            "Which word is on the label of {x}?",
            "Tell me the word on the label of {x}.",
            "What is the word that the label of {x} says?",
            "Do you know what the label of {x} says?",
            "Can you say what the label of {x} says?",
            "Tell me which word is on the label of {x}.",
            "Which word does the label of {x} say?",
        ),
        Split.eval: (
            "What is the word on the label of {x}?",
            "Tell me what the label of {x} says.",
        ),
    },
}

SEGMENTATION = "Please mark {x} in this picture."  # of the evaluation; training has others

DONT_KNOW = "I don't know"
