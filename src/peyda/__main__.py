"""`python -m peyda`: the same as the `peyda` command."""

from __future__ import annotations

import sys

from peyda.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
