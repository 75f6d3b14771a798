# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take screenshots of pages with Chromium, by the Chrome DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Two physical pixels for each one of the page, as on most screens today.
SCALE = 2
QUALITY = 60


@dataclass(frozen=True)
class View:
    """A screen. The width and the height are in pixels of CSS; the height is the most that is shown."""

    width: int
    height: int
    dark: bool = False
    scale: float = SCALE
    # "webp" is small, "png" exact.
    format: str = "webp"
    # Evaluated before the screenshot is taken.
    script: str = ""


class BrowserFailed(Exception):
    """Chromium is missing, or could not show a page."""


class Tab:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0

    async def screenshot(self, page: str, view: View) -> bytes:
        """Return an image of the page with this URL."""
        metrics = {"width": view.width, "height": view.height, "deviceScaleFactor": view.scale, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if view.dark else "light"}
        await self._call("Page.enable")
        await self._call("Emulation.setDeviceMetricsOverride", **metrics)
        await self._call("Emulation.setEmulatedMedia", features=[scheme])
        await self._call("Page.navigate", url=page)
        await self._event("Page.loadEventFired")
        if view.script:
            await self.evaluate(view.script)
        height = min(view.height, await self.evaluate("document.documentElement.offsetHeight"))
        clip = {"x": 0, "y": await self.evaluate("scrollY"), "width": view.width, "height": height, "scale": 1}
        quality = {"quality": QUALITY} if view.format == "webp" else {}
        answer = await self._call(
            "Page.captureScreenshot", format=view.format, clip=clip, captureBeyondViewport=True, **quality
        )
        return base64.b64decode(answer["data"])

    async def evaluate(self, script: str) -> Any:
        answer = await self._call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserFailed(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._last:
                break
        if "error" in message:
            raise BrowserFailed(f"{method}: {message['error']['message']}")
        result: dict[str, Any] = message["result"]
        return result

    async def _event(self, method: str) -> None:
        while (await self._socket.receive_json()).get("method") != method:
            pass


@asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise BrowserFailed(f"None of {', '.join(PROGRAMS)} is installed. On Debian: apt-get install chromium.")
    with tempfile.TemporaryDirectory(prefix="gce-guest-browser-", ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]
        process = await asyncio.create_subprocess_exec(
            program,
            *options,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(profile), process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                    pages = [page for page in await response.json() if page["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Tab(socket)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _port(profile: Path, process: asyncio.subprocess.Process) -> int:
    file = profile / "DevToolsActivePort"
    for _try in range(600):
        if process.returncode is not None:
            break
        if file.exists() and (lines := file.read_text(encoding="utf-8").splitlines()):
            return int(lines[0])
        await asyncio.sleep(0.1)
    raise BrowserFailed("Chromium has not started.")
