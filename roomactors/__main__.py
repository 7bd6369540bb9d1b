"""`python -m roomactors` is the command line."""

from roomactors.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
