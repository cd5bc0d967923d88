import torch

from pixsearch.generation.constraints import VocabularyConstraints
from pixsearch.generation.grammar import NOTHING, TokenClass
from pixsearch.tokens import TokenIds

IDS = TokenIds(
    search=10,
    search_end=11,
    region=12,
    whole=13,
    information=14,
    information_end=15,
    seg=16,
    end=1,
    pad=0,
    image=2,
)
OWNERS = {
    TokenClass.SEG: {16},
    TokenClass.SEARCH: {10},
    TokenClass.SEARCH_END: {11},
    TokenClass.REGION: {12},
    TokenClass.WHOLE: {13},
    TokenClass.END: {1},
    TokenClass.TEXT: {4, 5, 6, 7, 8, 9, 17},
}


def test_each_class_opens_its_ids_and_no_others() -> None:
    constraints = VocabularyConstraints(IDS, vocabulary_size=19, never=[3, 18])
    banned = constraints.banned(list(OWNERS))
    for row, ids in zip(banned, OWNERS.values(), strict=True):
        assert set((~row).nonzero()[:, 0].tolist()) == ids


def test_evidence_tags_are_in_no_class() -> None:
    constraints = VocabularyConstraints(IDS, vocabulary_size=19)
    everything = TokenClass(sum(OWNERS))
    banned = constraints.banned([everything, everything])
    assert banned[:, [IDS.information, IDS.information_end, IDS.pad, IDS.image]].all()
    assert constraints.class_of(IDS.information_end) is NOTHING


def test_bans_are_independent_of_the_order_in_which_sets_first_occur() -> None:
    constraints = VocabularyConstraints(IDS, vocabulary_size=19)
    sets = [TokenClass.TEXT | TokenClass.END, TokenClass.SEARCH_END, TokenClass.TEXT]
    first = constraints.banned(sets)
    assert torch.equal(constraints.banned(sets[::-1]), first.flip(0))


def test_an_end_token_that_also_pads_may_end() -> None:
    ids = TokenIds(**{**IDS.__dict__, "pad": IDS.end})
    constraints = VocabularyConstraints(ids, vocabulary_size=19, never=[IDS.end])
    assert constraints.class_of(IDS.end) is TokenClass.END
