"""Reports: what was spent by whom, on what, what was saved and what was wasted; as values, drawn by others.

A report is a question (SQL as a value) and what is made of its answer, a table of exact values:

    asked = questions.spend(("team", "model"), span)
    table = costs.table(("team", "model"), span, answered(asked))

Money is integer picodollars from ClickHouse to the last cell.
"""
