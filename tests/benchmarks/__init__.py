"""How fast the server is, measured beside servers that are simpler: `python -m tests.benchmarks`.

What lives here: the servers that ours is compared with, a load generator that checks every
delivery, one `bench_<what>.py` for each claim, and the report. Each server and each load generator
is a process of its own, on the loopback interface. Nothing here imports `roomactors`: the server
under test is started by its command line, like any other.
"""
