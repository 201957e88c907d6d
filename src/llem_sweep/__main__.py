"""``python -m llem_sweep``: the command line."""

import sys

from llem_sweep.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
