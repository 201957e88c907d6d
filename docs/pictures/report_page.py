"""Makes the pictures of the report: a sweep on two simulated boards, its page in Chromium.

    PYTHONPATH=tests python docs/pictures/report_page.py
    PYTHONPATH=tests python docs/pictures/report_page.py results/grid_…/report.html

Needs Debian's chromium and chromium-driver. One of the three models is broken, so that a failure is to be seen.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from browser import PHONE, Browser, chromium
from llem_sweep import load_sweep, run_sweep

TOP = Path(__file__).parent.parent.parent
IMAGES = TOP / "docs" / "images"
BROKEN = "tiny-llama-broken"
SHAPES: dict[str, dict[str, Any]] = {
    "tiny-llama": {},
    "tiny-llama-wide": {"hidden_size": 512, "intermediate_size": 1536, "num_attention_heads": 16},
    BROKEN: {},
}
SWEEP: dict[str, Any] = {
    "name": "Batch size and output length, two small models",
    "weights": "random",
    "precision": "fp32",
    "dataset": {"n": 64, "input_len": 32},
    "sweep": {
        "model": ["./tiny-llama", "./tiny-llama-wide"],
        "pytorch.batch_size": [4, 8, 16],
        "dataset.output_len": [16, 32, 64],
    },
    "experiments": [{"model": f"./{BROKEN}", "pytorch": {"batch_size": 4}, "dataset": {"output_len": 16}}],
    "execution": {"n_cycles": 3, "max_retries": 0},
    "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0, "settle_limit_seconds": 0},
    "baseline": {"duration_seconds": 1, "after_seconds": 0.5},
}


def sweep(top: Path) -> Path:
    """The page of a finished sweep in ``top``."""
    for name, shape in SHAPES.items():
        shutil.copytree(TOP / "sweeps" / "models" / "tiny-llama", top / name)
        config = top / name / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | shape))
    (top / BROKEN / "tokenizer.json").write_text("{")
    grid = top / "two-models.yaml"
    grid.write_text(yaml.safe_dump(SWEEP, sort_keys=False, allow_unicode=True))
    result = run_sweep(load_sweep(grid), output=top / "results", simulate_gpus=2)
    assert result.report is not None, result.warnings
    return result.report


def picture(
    browser: Browser, file: Path, name: str, size: tuple[int, int], scheme: str, *, phone: bool = False
) -> None:
    """The top of the page as ``docs/images/NAME``."""
    browser.colours(scheme)
    browser.size(*size, phone=phone)
    browser.open(file)
    shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / name).write_bytes(base64.b64decode(shot["data"]))


def main() -> None:
    with TemporaryDirectory(prefix="llem-sweep-pictures-") as top, chromium() as browser:
        file = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else sweep(Path(top))
        picture(browser, file, "report-light.png", (1280, 1900), "light")
        picture(browser, file, "report-dark.png", (1280, 1900), "dark")
        picture(browser, file, "report-phone.png", (PHONE[0], 2200), "light", phone=True)


if __name__ == "__main__":
    main()
