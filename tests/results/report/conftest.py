"""A headless Chromium, spoken to through its own debugging port: no driver has to fit the browser's version."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless",
    "--no-sandbox",  # tests run as root in containers, where Chromium's sandbox cannot be had
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
)


class Browser:
    """One tab. Clicks and moves are real ones of the mouse, at coordinates on the page."""

    def __init__(self, profile: Path) -> None:
        from websockets.sync.client import connect

        program = next(found for name in NAMES if (found := shutil.which(name)))
        self.process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": str(profile)},
        )
        told = profile / "DevToolsActivePort"
        self.until(lambda: told.is_file() and told.read_text().count("\n"), "the browser's port")
        port, path = told.read_text().split()
        self.socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None)
        self.numbers = itertools.count()
        self.session: str | None = None
        self.requests: list[str] = []  # what the page asked for, beyond itself
        self.complaints: list[str] = []  # exceptions and console errors
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")
        self.size()

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            told = json.loads(self.socket.recv(timeout=60))
            if told.get("id") == number:
                assert "error" not in told, (method, told["error"])
                return told["result"]
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        details = told.get("params", {})
        if told.get("method") == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif told.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(details["exceptionDetails"]))
        elif told.get("method") == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.complaints.append(details["entry"]["text"])

    def size(self, width: int = 1200, height: int = 900, phone: bool = False) -> None:
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def prefer(self, scheme: str) -> None:
        """The system's choice: light or dark."""
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, file: Path) -> None:
        """Open a page and wait until its charts are drawn."""
        self.requests.clear()
        self("Page.navigate", url=file.resolve().as_uri())
        self.until(lambda: self.js("document.documentElement?.dataset.drawn") == "yes", "the charts")

    def js(self, code: str) -> Any:
        """The value of an expression on the page."""
        told = self("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of the first element that matches, scrolled into view."""
        find = f"document.querySelector({json.dumps(selector)})"
        found = self.js(
            f"(() => {{ const e = {find}; if (!e) return null;"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        assert found, f"nothing on the page matches {selector}"
        return found[0], found[1]

    def click(self, selector: str) -> None:
        x, y = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def hover(self, selector: str) -> None:
        x, y = self.place(selector)
        self("Input.dispatchMouseEvent", type="mouseMoved", x=x - 1, y=y)
        self("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def write(self, selector: str, text: str) -> None:
        """Click into a field and type."""
        self.click(selector)
        self("Input.insertText", text=text)

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({json.dumps(selector)}).innerText")

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that match and are shown."""
        return self.js(
            f"[...document.querySelectorAll({json.dumps(selector)})].filter(e => e.offsetParent).map(e => e.innerText)"
        )

    def screenshot(self, file: Path, whole: bool = True) -> None:
        told = self("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))
        file.write_bytes(base64.b64decode(told["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        box = self("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**box, "scale": 1}} if whole else {}

    def pdf(self, file: Path) -> None:
        told = self("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        file.write_bytes(base64.b64decode(told["data"]))

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def until(self, ready: Any, what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, f"waited {seconds} s for {what}: {getattr(self, 'complaints', '')}"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium; without one the test is skipped."""
    pytest.importorskip("websockets", reason="websockets is missing (make setup): nothing speaks to a browser")
    if not any(shutil.which(name) for name in NAMES):
        pytest.skip("there is no Chromium (apt-get install chromium): the page cannot be tried in a browser")
    found = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        yield found
    finally:
        found.close()
