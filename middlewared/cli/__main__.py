"""``python -m middlewared.cli``."""

from middlewared.cli import main

if __name__ == "__main__":
    main()
