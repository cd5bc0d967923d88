"""The paper's tables, composed from result folders, with the paper's figures beside ours."""

from pixsearch.evaluation.paper_tables.make import make_table

__all__ = ["make_table"]
