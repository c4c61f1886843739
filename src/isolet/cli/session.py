"""What a command that talks to a server gets: the client, the project, and how to print."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from isolet.cli import profiles
from isolet.cli.output import Output
from isolet.cli.target import Options, Target, choose

if TYPE_CHECKING:
    from isolet.client import Client
    from isolet.contract.functions import FunctionReply

_DEFAULT_PROJECT = "default"
# Longer than any call.
PATIENCE_S = 25 * 3600.0


class Session:
    """Of one command."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.output = Output(as_json=options.json)

    @cached_property
    def target(self) -> Target:
        from isolet.cli.keyrings import key_of

        return choose(self.options, os.environ, profiles.load(os.environ), key_of)

    @cached_property
    def client(self) -> Client:
        from isolet.client import Client

        return Client(self.target.url, self.target.key)

    @cached_property
    def patient(self) -> Client:
        """A client for what may take as long as a call: replays, copies of stores, long statements."""
        from isolet.client import Client

        return Client(self.target.url, self.target.key, timeout_s=PATIENCE_S)

    @cached_property
    def project(self) -> str:
        """The slug of the project: as it was given, else the only one that the key sees, else `default`."""
        if self.target.project is not None:
            return self.target.project
        seen = self.client.projects.list(limit=2).data
        return seen[0].slug if len(seen) == 1 else _DEFAULT_PROJECT

    def function(self, name: str) -> FunctionReply:
        """By slug, name or id."""
        from isolet.client.errors import NotFound

        try:
            return self.client.functions.get_named(self.project, name)
        except NotFound:
            if not _is_id(name):
                raise
            return self.client.functions.get(name)

    def close(self) -> None:
        for name in {"client", "patient"} & vars(self).keys():
            getattr(self, name).close()


def _is_id(text: str) -> bool:
    from isolet.ids import is_uuid

    return is_uuid(text)


@contextmanager
def connect(options: Options) -> Iterator[Session]:
    """A session for the time of a command."""
    session = Session(options)
    try:
        yield session
    finally:
        session.close()
