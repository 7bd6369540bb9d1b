"""Each promise is broken on purpose, one line at a time, to see that its test notices.

A patch is one line of the package that is replaced in a copy of it; the tests
named beside it pass on the copy as it is, and must fail once the line is
replaced. `python -m tests.prove` does that for the table in `patches.py`.
"""
