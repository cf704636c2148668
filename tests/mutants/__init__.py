"""Guards are proven: each is taken out in turn, and the test that is named beside it must go red.

`table` says which guards there are, `__main__` runs them in copies of the checkout (`make mutants`), and
tests/test_mutants.py holds the table to the code.
"""
