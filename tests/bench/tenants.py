"""Noisy tenants: what one project's calls take while another project does its worst against the server itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx

from tests.bench.report import Figure
from tests.bench.sides import deployed, isolet_server
from tests.bench.steady import measure
from tests.support.hostile import EXPERIMENTS, Round
from tests.support.projects import Project, new_project
from tests.support.server import Server


def run() -> Sequence[Figure]:
    with isolet_server() as server, server.client() as root:
        noises = ((name, _made(server, root, prepare)) for name, prepare in EXPERIMENTS.items())
        return measure(deployed(server), noises)


@contextmanager
def _made(server: Server, root: httpx.Client, prepare: Callable[[Project], Round]) -> Iterator[Round]:
    with new_project(server, root) as hostile:
        yield prepare(hostile)
