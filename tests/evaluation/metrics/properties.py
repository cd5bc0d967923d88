"""How properties of the metrics are tested: on fewer examples than usual, and without a clock."""

from hypothesis import settings

few_examples = settings(max_examples=25, deadline=None)
