"""Run vssbench as `python -m vssbench`."""

from vssbench.cli import main

if __name__ == "__main__":
    main()
