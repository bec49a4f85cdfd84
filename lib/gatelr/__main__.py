"""``python -m gatelr`` is the command ``gatelr``."""

from gatelr.command import main

if __name__ == "__main__":
    raise SystemExit(main())
