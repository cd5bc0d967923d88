import pytest

from pixsearch.evaluation.claims import Claim, Relation, claims, pooled_ratio
from pixsearch.evaluation.paper import PAPER, POLICY_ORDER
from pixsearch.evaluation.score import write_results
from pixsearch.evaluation.tables import claims_table, policy_table
from tests.evaluation.test_score import AFTER, save
from tests.evaluation.worlds import benchmark, prediction, query


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every policy answers all right but whole_image, which knows one answer of two."""
    root, world = tmp_path_factory.mktemp("claims"), benchmark()
    right = [prediction(each, each.gold.answer, query("e1")) for each in world.samples]
    policies = dict.fromkeys(POLICY_ORDER, right)
    policies["whole_image"] = [prediction(world.samples[0], "Tarn"), *right[1:]]
    save(root, world, policies, masks=[])
    return root


@pytest.fixture(scope="module")
def results(folder):
    return write_results(folder, benchmark(), span=AFTER)


def test_claims_follow_from_the_results(results):
    found = {claim.name: claim for claim in claims(results)}
    assert found["answers scored"].met is False
    assert found["full / whole_image (asked of seeds pooled)"].value == pytest.approx(1.5)
    assert found["full / whole_image (asked of seeds pooled)"].met
    assert found["gIoU, free-running"].value == 0
    assert found["gold_region against full"].met
    assert found["budget 1 against budget 0"].met is False  # as good is not better
    assert found["random_region against whole_image + 3"].met is False
    assert all(
        claim.met is not None for claim in found.values() if "whole_image," not in claim.name
    )


def test_what_was_not_measured_is_neither_met_nor_failed(results):
    only_full = {**results, "policies": {"full": results["policies"]["full"]}, "comparisons": {}}
    found = {claim.name: claim.met for claim in claims(only_full)}
    assert found["gold_region against full"] is None
    assert found["full / whole_image, lower bound"] is None
    assert found["search decision, recall"] is not None


@pytest.mark.parametrize(
    ("relation", "met"),
    [(Relation.ABOVE, False), (Relation.AT_LEAST, True), (Relation.AT_MOST, True)],
)
def test_relations_at_the_threshold(relation, met):
    assert Claim(name="x", value=1.0, relation=relation, threshold=1.0).met is met


def test_worlds_are_pooled_by_question(folder):
    once, twice = (pooled_ratio([(folder, benchmark())] * times) for times in (1, 2))
    assert once["estimate"] == twice["estimate"] == pytest.approx(1.5)


def test_pooling_needs_finished_policies(tmp_path):
    world = benchmark()
    save(tmp_path, world, {"full": [prediction(world.samples[0], "Osmeth")]})
    with pytest.raises(ValueError, match="3 of 4 answers of full are missing"):
        pooled_ratio([(tmp_path, world)])


def test_pooling_needs_whole_image_beside_full(tmp_path):
    world = benchmark()
    save(tmp_path, world, {"full": [prediction(each, "Osmeth") for each in world.samples]})
    with pytest.raises(ValueError, match="4 of 4 answers of whole_image are missing"):
        pooled_ratio([(tmp_path, world)])


def test_an_unfinished_policy_is_shown_as_such(tmp_path, folder):
    world = benchmark()
    save(tmp_path, world, {"full": [prediction(world.samples[0], "Osmeth")]})
    found = write_results(tmp_path, world, span=AFTER)
    assert "full: 3 answers are missing and count as wrong" in policy_table(found)
    assert claims(found)[0].value == 1


def test_a_policy_with_another_k_is_compared_with_none(tmp_path):
    world = benchmark()
    right = [prediction(each, each.gold.answer, query("e1")) for each in world.samples]
    policies = dict.fromkeys(("whole_image", "full", "gold_region"), right)
    save(tmp_path, world, policies, k={"whole_image": 3})
    found = write_results(tmp_path, world, span=AFTER)
    assert found["comparisons"] == {}
    assert found["policies"]["whole_image"]["options"]["k"] == 3
    assert found["protocol"]["k"] == 5
    by_name = {claim.name: claim.met for claim in claims(found)}
    assert by_name["gold_region against full"] is True
    assert by_name["full / whole_image, lower bound"] is None


def test_the_table_has_every_policy_with_the_papers_figures(results):
    lines = policy_table(results).splitlines()
    rows = {line.split()[0]: line for line in lines[1 : 1 + len(POLICY_ORDER)]}
    assert list(rows) == list(POLICY_ORDER)
    assert "(37.7)" in rows["full"]
    assert "(" not in rows["gold_region"]
    assert "n = 3 answerable, 1 unanswerable" in policy_table(results)


def test_the_claims_table_says_what_is_not_met(results):
    assert "NOT MET" in claims_table(claims(results))


def test_the_papers_rows_keep_their_printed_truthfulness():
    for policy, groups in PAPER.items():
        for truthfulness, accuracy, _, hallucination in groups:
            if policy not in ("full", "no_region") and not policy.startswith(("budget", "text")):
                assert truthfulness == pytest.approx(accuracy - hallucination, abs=0.35), policy
