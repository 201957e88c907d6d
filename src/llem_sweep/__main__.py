"""``python -m llem_sweep``: the command line."""

from llem_sweep.cli.app import console

if __name__ == "__main__":
    console()
