"""``python -m reptools``: the command line."""

from __future__ import annotations

from reptools.cli import main

if __name__ == "__main__":
    main()
