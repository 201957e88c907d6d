"""The parts of the accuracy report: estimates against truths that are known."""

import sys
from pathlib import Path

# The stand-in NVML library is the tests' own.
sys.path.append(str(Path(__file__).parents[2] / "tests"))
