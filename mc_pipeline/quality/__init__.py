"""Data-quality checks: what is expected of a table, and one runner that asks Great Expectations.

Nothing here imports Great Expectations when the module is imported (it costs seconds): only the runner does,
inside the function that validates. Nothing here decides what happens to a row: the domain sets rows aside by
its own rules, and the checks look at the raw tables independently.
"""
