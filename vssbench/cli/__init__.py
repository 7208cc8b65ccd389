"""Command line: one file per sub-command."""


def main() -> None:
    """Entry point."""
    raise SystemExit(2)
