"""What the page carries of others."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

PLOTLY = files("llem_sweep.report") / "assets" / "plotly"
DIGEST = "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"


def test_plotly_is_the_file_that_its_readme_names_with_its_licence() -> None:
    content = (PLOTLY / "plotly-cartesian.min.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == DIGEST
    [version] = re.findall(r"Version (\S+) of the npm package", (PLOTLY / "README.md").read_text())
    assert f"(cartesian - minified) v{version}\n".encode() in content[:200]
    assert "MIT License" in (PLOTLY / "LICENSE").read_text()
