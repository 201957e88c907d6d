"""Takes docs/images/ray-dashboard-actors.png: the actors page of Ray's dashboard while a sweep runs.

The sweep has two simulated GPUs and a Ray of its own; the browser is Chromium, with the token as a cookie.

    PYTHONPATH=tests python docs/pictures/ray_dashboard.py
"""

from __future__ import annotations

import asyncio
import base64
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from integration.watched import watched_sweep

PICTURE = Path(__file__).parents[1] / "images" / "ray-dashboard-actors.png"
SWEEP = {
    "model": "acme/made-up-7b",
    "backend": "synthetic",
    "n": 8,
    "baseline": {"duration_seconds": 0.5},
    "warmup": {"n_warmup": 1, "thermal_floor_seconds": 0},
    "synthetic": {"run_seconds": 30.0},
    "sweep": {"synthetic.output_tokens": [1, 2, 3, 4]},
}
WIDTH, HEIGHT = 1500, 760
START_S, DRAW_S = 15.0, 8.0
"""Until both workers are up, and until the page has what it asks for."""


class Page:
    """A page of a headless Chromium, told what to do by its own protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)

    async def do(self, method: str, **parameters: object) -> Any:
        """What the browser answers; raises RuntimeError when it refuses."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=30)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]


async def take(dashboard: str, token: str, profile: Path) -> bytes:
    """A PNG of the actors page."""
    browser = await asyncio.create_subprocess_exec(
        "chromium",
        "--headless",
        "--no-sandbox",
        "--remote-debugging-port=0",
        f"--window-size={WIDTH},{HEIGHT}",
        f"--user-data-dir={profile}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        told = profile / "DevToolsActivePort"
        while not told.exists():
            await asyncio.sleep(0.1)
        port = told.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (page,) = [each for each in await answer.json() if each["type"] == "page"]
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Page(socket)
                url = f"http://{dashboard}"
                await tab.do("Network.setCookie", name="ray-authentication-token", value=token, url=url)
                await tab.do("Page.navigate", url=f"{url}/#/actors")
                await asyncio.sleep(DRAW_S)
                shot = await tab.do("Page.captureScreenshot", format="png")
                return base64.b64decode(shot["data"])
    finally:
        browser.terminate()
        await browser.wait()


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid = folder / "quick.yaml"
        grid.write_text(yaml.safe_dump(SWEEP))
        with watched_sweep(grid, folder / "out") as sweep:
            await asyncio.sleep(START_S)
            PICTURE.write_bytes(await take(sweep.dashboard, sweep.token, folder / "profile"))
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    asyncio.run(main())
