"""`python -m plumbline` is the command `plumbline`."""

from plumbline.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
