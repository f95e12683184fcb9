"""`python -m spendstream` is the same as `spendstream`."""

from spendstream.cli import main

if __name__ == "__main__":
    main()
