"""A headless Chromium that a test controls: it opens a page, reads values from it, and takes pictures.

It uses the DevTools protocol over a WebSocket of aiohttp, which is installed with Ray's dashboard.

    async with browser(tmp_path) as page:
        await page.open("http://127.0.0.1:8080")
        await page.until("document.querySelectorAll('#trials tbody tr').length > 0")
"""

import asyncio
import base64
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE = 900  # seconds that a busy machine may take
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"


class Page:
    """The one page of a browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse):
        self._socket = socket
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []  # that the browser has sent

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=PATIENCE)
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    async def open(self, address: str) -> None:
        """Go to an address."""
        await self.call("Page.navigate", url=address)

    async def value(self, expression: str) -> Any:
        """Value of a JavaScript expression."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        result = await self.call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true; a page that is being loaded may answer with an error."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(AssertionError):
                    if await self.value(expression):
                        return
                await asyncio.sleep(0.2)

    async def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Show the page in another size or scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=scheme)

    async def document(self) -> str:
        """The HTML of the page as the server sent it last."""
        frame = (await self.call("Page.getFrameTree"))["frameTree"]["frame"]
        content: str = (await self.call("Page.getResourceContent", frameId=frame["id"], url=frame["url"]))["content"]
        return content

    async def press(self, key: str) -> None:
        """Press a key, such as Tab."""
        for kind in ("keyDown", "keyUp"):
            code, text = KEYS[key]
            typed = {"text": text} if kind == "keyDown" and text else {}
            own = {"key": key, "code": key, "windowsVirtualKeyCode": code} | typed
            await self.call("Input.dispatchKeyEvent", type=kind, **own)

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write the visible part of the page to a PNG file; whole: the part below it, too."""
        taken = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))


KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}  # code, and what it types


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """A browser with an empty profile below `folder`, which ends when the block ends."""
    assert CHROMIUM is not None
    profile = folder / "profile"
    command = [CHROMIUM, *FLAGS.split(), "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            port = await _port(profile / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    (target,) = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    for domain in ("Page", "Runtime", "Network", "Log"):
                        await page.call(f"{domain}.enable")
                    yield page
        finally:
            process.terminate()


async def _port(file: Path) -> int:
    """The port on which the browser listens, as soon as the browser has written it."""
    async with asyncio.timeout(PATIENCE):
        while not file.exists() or not file.read_text().strip():
            await asyncio.sleep(0.1)
    return int(file.read_text().split()[0])
