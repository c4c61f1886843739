"""Deliveries through the real egress process: what it refuses at connect time, how little it takes from a receiver."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from isolet.clock import SystemClock
from isolet.database import projects as stored_projects
from isolet.database.connection import Database
from isolet.database.engine import sqlite_url
from isolet.domain.http_jobs import CALLBACK, DeliveryPayload
from isolet.domain.jobs import Job, JobState, claimed
from isolet.errors import StoreError
from isolet.functions.vault import MasterKey, Vault
from isolet.ids import FunctionId, JobId, ProjectId, new_id
from isolet.jobs.deliveries import Deliveries
from isolet.jobs.webhook_secrets import WebhookSecrets
from tests.integration.database.rows import a_project
from tests.support.runtime import Runtime
from tests.unit.domain.test_callbacks import INSIDE, SPELLINGS

# The last is a name that the machine itself resolves: the check is on the address that is connected to.
_NAMES = ["localhost"]
_Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def deliveries(runtime: Runtime, folder: Path, *allowed: str) -> AsyncIterator[Deliveries]:
    database = Database(sqlite_url(folder / "isolet.db"))
    await database.open()
    egresses = runtime.egresses(*allowed)
    vault, _ = await Vault.open(database, [MasterKey(os.urandom(32))])
    try:
        yield Deliveries(
            egresses=egresses,
            secrets=WebhookSecrets(database=database, vault=vault, clock=SystemClock()),
            clock=SystemClock(),
            schedule_s=(0, 60),
            timeout_s=1.0,
            host_limit=8,
        )
    finally:
        await egresses.close()
        await database.close()


@asynccontextmanager
async def receiving(answer: _Answer) -> AsyncIterator[str]:
    """A receiver of the test's own; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def a_delivery(url: str) -> Job:
    job = Job(
        id=JobId(new_id()),
        kind=CALLBACK,
        project_id=ProjectId("p"),
        function_id=FunctionId("f"),
        function_name="n",
        lane="p:host",
        target=url,
        payload=DeliveryPayload().dump(),
        created_at_ms=0,
        due_at_ms=0,
        body=b"body",
    )
    return claimed(job, "me", 0)


async def test_addresses_inside_are_refused_at_connect_time(runtime: Runtime, tmp_path: Path) -> None:
    reached = 0

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal reached
        reached += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with receiving(count) as url, deliveries(runtime, tmp_path) as door:
        port = url.rstrip("/").rpartition(":")[2]
        for host in [*INSIDE, *SPELLINGS[:-1], *_NAMES]:
            after = (await door.run(a_delivery(f"http://{host}:{port}/"))).job
            assert after.state is JobState.QUEUED, host
            assert "refused" in (after.error or ""), (host, after.error)
    assert reached == 0


async def test_metadata_addresses_are_refused_whatever_is_allowed(runtime: Runtime, tmp_path: Path) -> None:
    async with deliveries(runtime, tmp_path, "169.254.0.0/16") as door:
        after = (await door.run(a_delivery("http://169.254.169.254/latest"))).job
        assert "the address is refused" in (after.error or "")


async def test_an_answer_that_drips_is_cut_at_the_deadline(runtime: Runtime, tmp_path: Path) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with receiving(drip) as url, deliveries(runtime, tmp_path, "127.0.0.0/8") as door:
        after = (await door.run(a_delivery(url))).job
    assert (after.state, after.error) == (JobState.QUEUED, "no complete answer within 1 s")
    assert after.history[0].duration_ms < 3_000


async def test_an_endless_answer_is_not_read(runtime: Runtime, tmp_path: Path) -> None:
    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"." * 65_536)
            await writer.drain()

    async with receiving(pour) as url, deliveries(runtime, tmp_path, "127.0.0.0/8") as door:
        after = (await door.run(a_delivery(url))).job
    assert after.state is JobState.SUCCEEDED
    assert len(after.result_body) == 1024


async def test_a_redirect_is_not_followed(runtime: Runtime, tmp_path: Path) -> None:
    seen = 0

    async def redirect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.write(b"HTTP/1.1 307 Go\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")

    async with receiving(redirect) as url, deliveries(runtime, tmp_path, "127.0.0.0/8") as door:
        after = (await door.run(a_delivery(url))).job
    assert seen == 1
    assert after.error == "the receiver answered 307; redirects are not followed"


@pytest.mark.parametrize(("status", "state"), [(204, JobState.SUCCEEDED), (410, JobState.FAILED)])
async def test_the_status_decides(runtime: Runtime, tmp_path: Path, status: int, state: JobState) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)

    async with receiving(answer) as url, deliveries(runtime, tmp_path, "127.0.0.0/8") as door:
        after = (await door.run(a_delivery(url))).job
    assert (after.state, after.attempts) == (state, 1)


async def test_retry_after_moves_the_next_attempt(runtime: Runtime, tmp_path: Path) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 X\r\nretry-after: 600\r\ncontent-length: 0\r\n\r\n")

    async with receiving(answer) as url, deliveries(runtime, tmp_path, "127.0.0.0/8") as door:
        began_ms = SystemClock().now_ms()
        after = (await door.run(a_delivery(url))).job
    assert 600_000 <= after.due_at_ms - began_ms < 610_000


@pytest.mark.parametrize("value", ["日本", "a\r\nx-injected: 1", "a\0b", "\ud800"])
async def test_a_request_that_cannot_be_written_is_an_attempt_that_failed(
    runtime: Runtime, tmp_path: Path, value: str
) -> None:
    async with deliveries(runtime, tmp_path, "127.0.0.0/8") as door:
        after = (
            await door.run(
                replace(a_delivery("http://127.0.0.1:9/"), payload=DeliveryPayload(headers=(("x-own", value),)).dump())
            )
        ).job
    assert (after.state, after.attempts) == (JobState.QUEUED, 1)
    assert (after.error or "").startswith("cannot deliver: ")


async def test_a_large_body_is_signed_with_many_secrets_beside_the_loop(runtime: Runtime, tmp_path: Path) -> None:
    async with deliveries(runtime, tmp_path) as door:
        project = a_project(f"p-{new_id()}")
        await door._secrets._database.write(stored_projects.insert_project, project)
        for _ in range(10):
            await door._secrets.create(project.id)
        job = replace(a_delivery("http://a.example/"), project_id=project.id, body=bytes(16 * 1024 * 1024))
        loop_s, whole_s = time.thread_time(), time.process_time()

        request = await door._request(job)

        assert time.thread_time() - loop_s < (time.process_time() - whole_s) / 3
        assert request.count(b"v1,") == 10


async def test_a_delivery_that_cannot_read_its_keys_now_is_no_attempt(runtime: Runtime, tmp_path: Path) -> None:
    async with deliveries(runtime, tmp_path) as handler:
        away = Database(sqlite_url(tmp_path / "isolet.db"))
        await away.write(lambda connection: connection.exec_driver_sql("DROP TABLE webhook_secrets"))
        await away.close()
        with pytest.raises(StoreError):
            await handler.run(a_delivery("https://receiver.example/"))
