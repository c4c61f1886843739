"""A real Chromium without a window, driven over its DevTools protocol; only what tests of pages need.

The profile is new, nothing outside this machine is asked, and a page is a tab in a context of its own: cookies, storage
and workers of one test are not there in another.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.waiting import wait_until

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    # Two processes less to start.
    "--in-process-gpu",
    "--enable-features=NetworkServiceInProcess2",
    # Most scripts run too shortly to earn back what compiling them costs; those of `/docs` do not.
    "--js-flags=--no-opt --invocation-count-for-maglev=4000 --single-threaded-gc",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    # Of a machine without a language it would make one that scripts refuse.
    "--lang=en-US",
    "--remote-debugging-address=127.0.0.1",
    "--remote-debugging-port=0",
    # Whatever name a page asks for, nothing leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost",
)
# What it would set for itself while its threads already read the environment, which ended it now and then at its start.
_ENVIRONMENT = {"DBUS_SESSION_BUS_ADDRESS": "disabled:", "FC_FONTATIONS": "1", "VK_ICD_FILENAMES": ""}
_TIMEOUT_S = 60.0
_LEAVING = (
    "Cannot find default execution context",
    "Execution context was destroyed",
    "Inspected target navigated or closed",
)
# A test may fill a field before the browser gives the focus to one by itself.
_FOCUSED_BEFORE = "Autofocus processing was blocked because a document already has a focused element"
_STOPPED = "toldOfPolicy"
_WATCH_POLICY = f"""addEventListener("securitypolicyviolation", (event) =>
  {_STOPPED}(`The policy stopped ${{event.blockedURI}}: ${{event.effectiveDirective}}`))"""


class _Leaving(Exception):
    """The page that was asked is being left for another."""


class Browser:
    """Use it as a context manager: the process and all of its children end with it."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("chromium-headless-shell")
        assert program is not None, "there is no chromium-headless-shell: `make setup-dev` installs it"
        self._folder = folder / "profile"
        self._log = (folder / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={self._folder}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            process_group=0,
            env=os.environ | _ENVIRONMENT,
        )
        self._stack = ExitStack()
        self._wire: _Wire

    @contextmanager
    def page(self) -> Iterator[Page]:
        """A tab with a profile of its own."""
        context = self._wire.send("Target.createBrowserContext", disposeOnDetach=True)["browserContextId"]
        target = self._wire.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self._wire.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        try:
            yield Page(self._wire, session, context)
        finally:
            self._wire.send("Target.disposeBrowserContext", browserContextId=context)

    def __enter__(self) -> Self:
        port_file = self._folder / "DevToolsActivePort"

        def listens() -> bool:
            assert self._process.poll() is None, f"Chromium ended: {Path(self._log.name).read_text(errors='replace')}"
            return port_file.exists() and port_file.read_text().count("\n") == 1

        try:
            wait_until(listens, timeout_s=_TIMEOUT_S, what="Chromium listens")
            port, path = port_file.read_text().splitlines()
            socket = self._stack.enter_context(
                # Without pings: their thread takes from the random numbers that generated examples are made with.
                connect(
                    f"ws://127.0.0.1:{port}{path}",
                    max_size=None,
                    open_timeout=_TIMEOUT_S,
                    compression=None,
                    ping_interval=None,
                )
            )
            self._wire = _Wire(socket)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Asked over the wire: the command may be a script, which a signal would end without the program."""
        try:
            # It may be gone before it answers.
            with suppress(ConnectionClosed):
                self._wire.send("Browser.close")
            self._process.wait(10)
        finally:
            self._kill()

    def _kill(self) -> None:
        """Whatever is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        self._stack.close()
        self._log.close()


class Page:
    """One tab. `errors` are what it told of itself: messages of its console, exceptions nobody caught, and what its
    policy stopped, of which the console does not always tell.
    """

    def __init__(self, wire: _Wire, session: str, context: str) -> None:
        self._wire = wire
        self._session = session
        self._context = context
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.setLifecycleEventsEnabled", enabled=True)
        self.send("Runtime.addBinding", name=_STOPPED)
        self.send("Page.addScriptToEvaluateOnNewDocument", source=_WATCH_POLICY)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._wire.send(method, session=self._session, **parameters)

    def open(self, url: str) -> Self:
        """Go there and wait until it is loaded, whatever else of the page before is still told of."""
        before = self._wire.loaders(self._session)
        self._wire.forget(self._session, "Page.lifecycleEvent")
        told = self.send("Page.navigate", url=url)
        assert "errorText" not in told, told

        def is_it(event: dict[str, Any]) -> bool:
            is_load = (event["name"], event["frameId"]) == ("load", told["frameId"])
            return is_load and event["loaderId"] not in before

        self._wire.wait(self._session, "Page.lifecycleEvent", where=is_it)
        return self

    def open_or_save(self, url: str) -> Self:
        """Go there, where the browser may save what comes instead of showing it, and wait until either is done."""
        self.send("Page.setDownloadBehavior", behavior="deny")
        self.send("Network.enable")
        self._wire.forget(self._session, "Network.loadingFinished", "Network.loadingFailed")
        self.send("Page.navigate", url=url)
        self._wire.wait(self._session, "Network.loadingFinished", "Network.loadingFailed")
        self.wait_for("document.readyState === 'complete'", "it is loaded")
        return self

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited. Fails when it throws."""
        told = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait_for(self, script: str, what: str) -> Any:
        """Until an expression is true; its value. While the page is left for another nothing is true."""

        def look() -> Any:
            try:
                return self.run(script)
            except _Leaving:
                return None

        return wait_until(look, timeout_s=_TIMEOUT_S, what=what)

    @property
    def text(self) -> str:
        """What a reader sees."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    @property
    def errors(self) -> list[str]:
        self.run("1")
        return self._wire.complaints(self._session)

    def cookies(self) -> dict[str, str]:
        """Every cookie of its profile, by name."""
        found = self._wire.send("Storage.getCookies", browserContextId=self._context)["cookies"]
        return {cookie["name"]: cookie["value"] for cookie in found}

    def resize(self, width: int, height: int, *, scheme: str = "light") -> None:
        """The size of the window, in CSS pixels, and whether the reader likes it `light` or `dark`."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, *, whole: bool = False) -> bytes:
        """A PNG of what is seen, or of the whole page."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def point_at(self, selector: str) -> None:
        """The pointer, at the middle of what the page has there."""
        box = self.run(
            f"""(() => {{
              const found = document.querySelector({json.dumps(selector)});
              found.scrollIntoView({{ block: "nearest", inline: "nearest" }});
              const box = found.getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])

    def type(self, text: str) -> None:
        """Into whatever has the focus, as if it were pasted."""
        self.send("Input.insertText", text=text)

    def press(self, key: str, code: str, number: int, *, ctrl: bool = False) -> None:
        """A key; `number` is its code in Windows, by which browsers know it."""
        known = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": 2 * ctrl}
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, **known)

    def set_cookie(self, url: str, name: str, value: str, **more: Any) -> None:
        self.send("Network.setCookie", url=url, name=name, value=value, **more)


class _Wire:
    """Commands and their answers, and the events between them."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0
        self._events: list[dict[str, Any]] = []

    def send(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        asked: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            asked["sessionId"] = session
        self._socket.send(json.dumps(asked))
        answer = self._read(lambda message: message.get("id") == asked["id"])
        if "error" in answer and answer["error"]["message"].rstrip(".") in _LEAVING:
            raise _Leaving(answer["error"]["message"])
        assert "error" not in answer, (method, answer["error"])
        return dict(answer["result"])

    def forget(self, session: str, *events: str) -> None:
        """What came so far of some events does not count."""
        self._events = [one for one in self._events if not _is(one, session, events)]

    def wait(self, session: str, *events: str, where: Callable[[dict[str, Any]], bool] = lambda _: True) -> None:
        """For one of them, with parameters that are meant."""

        def is_it(message: dict[str, Any]) -> bool:
            return _is(message, session, events) and where(message["params"])

        if not any(is_it(one) for one in self._events):
            self._read(is_it)

    def loaders(self, session: str) -> set[str]:
        """The pages that told of themselves so far."""
        told = [one["params"] for one in self._events if _is(one, session, ("Page.lifecycleEvent",))]
        return {one["loaderId"] for one in told}

    def complaints(self, session: str) -> list[str]:
        found = []
        for one in self._events:
            if one.get("sessionId") == session and one["method"] == "Log.entryAdded":
                text = str(one["params"]["entry"]["text"])
                found += [] if text.startswith(_FOCUSED_BEFORE) else [text]
            elif one.get("sessionId") == session and one["method"] == "Runtime.consoleAPICalled":
                found.append(str([argument.get("value") for argument in one["params"]["args"]]))
            elif one.get("sessionId") == session and one["method"] == "Runtime.bindingCalled":
                found.append(str(one["params"]["payload"]))
            elif one.get("sessionId") == session and one["method"] == "Runtime.exceptionThrown":
                found.append(str(one["params"]["exceptionDetails"]))
        return found

    def _read(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(timeout=max(deadline - time.monotonic(), 0)))
            if "method" in message:
                self._events.append(message)
            if wanted(message):
                return message


def _is(message: dict[str, Any], session: str, events: tuple[str, ...]) -> bool:
    return message.get("sessionId") == session and message.get("method") in events
