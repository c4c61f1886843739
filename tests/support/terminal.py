"""A terminal: a shell in tmux, whose screen is read and whose keys are pressed."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import wait_until

_PROMPT = "ready> "
_TIMEOUT_S = 120


class Terminal:
    """Use it as a context manager."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._socket = folder / "tmux"
        self._folder = folder
        self._variables = variables

    def __enter__(self) -> Self:
        shell = "env -i " + " ".join(shlex.quote(f"{name}={value}") for name, value in self._environment().items())
        self._tmux("new-session", "-d", "-x", "200", "-y", "50", "-c", str(self._folder), f"{shell} bash --norc")
        self.shows(_PROMPT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tmux("kill-server")

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-J", "-S", "-500")

    def type(self, text: str) -> None:
        """With Enter, on a screen without what was before."""
        self._tmux("clear-history")
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def press(self, key: str) -> None:
        self._tmux("send-keys", key)

    def shows(self, text: str) -> str:
        """Wait until the screen has it; the screen."""
        wait_until(lambda: text in self.screen, timeout_s=_TIMEOUT_S, what=f"{text!r} on the screen:\n{self.screen}")
        return self.screen

    def run(self, command: str) -> str:
        """Until the prompt is there again; the screen."""
        self.type("clear; " + command)
        wait_until(
            lambda: self.screen.rstrip().endswith(_PROMPT.rstrip()) and command not in self.screen.splitlines()[0],
            timeout_s=_TIMEOUT_S,
            what=command,
        )
        return self.screen

    def _environment(self) -> dict[str, str]:
        return {
            "TERM": "tmux-256color",
            "PS1": _PROMPT,
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            **self._variables,
        }

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout
