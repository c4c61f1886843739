"""The process that holds a project's KV and SQL: one a project, started on demand, sandboxed, killed without loss."""

import fcntl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.cases import CaseFailed, Cases
from tests.support.kapso import Kapso
from tests.support.projects import Project, new_project
from tests.support.server import Server
from tests.support.storage import folder, kv_index, storage_processes
from tests.support.waiting import wait_until

CASES = """
const cases = {
  idle: () => "nothing",
  put: (env, key, value, options) => env.KV.put(key, value, options),
  get: (env, key) => env.KV.get(key),
  names: async (env, options) => (await env.KV.list(options)).keys.map((key) => key.name),
  exec: (env, sql) => env.DB.exec(sql),
  async write(env, n) {
    await env.KV.put(`w:${String(n).padStart(6, "0")}`, String(n));
    await env.DB.prepare("INSERT INTO writes VALUES (?)").bind(n).run();
  },
  async written(env) {
    const keys = [];
    let cursor;
    do {
      const page = await env.KV.list({ prefix: "w:", cursor });
      keys.push(...page.keys.map((key) => Number(key.name.slice(2))));
      cursor = page.cursor;
    } while (cursor);
    const { results } = await env.DB.prepare("SELECT n FROM writes").all();
    return { kv: keys, sql: results.map((row) => row.n) };
  },
};
"""


@pytest.fixture
def home(server: Server, root: httpx.Client) -> Iterator[Project]:
    with new_project(server, root) as project:
        yield project


@pytest.fixture
def cases(home: Project) -> Cases:
    return Cases(Kapso(home.client), CASES)


@dataclass
class Writer:
    """Writes numbers from several threads until told to stop; keeps those that were acknowledged."""

    cases: Cases
    acknowledged: list[int] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    problems: list[BaseException] = field(default_factory=list)

    def start(self, count: int = 3) -> None:
        self._threads = [threading.Thread(target=self._run, args=(i * 100_000,)) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        goal = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= goal, what=f"{more} more acknowledged writes")

    def _run(self, number: int) -> None:
        while not self.stopping.is_set():
            number += 1
            try:
                self.cases.run("write", number)
                self.acknowledged.append(number)
            except (CaseFailed, httpx.HTTPError, AssertionError) as exc:
                # Not acknowledged: it may be there or not.
                self.problems.append(exc)


def check_written(cases: Cases, acknowledged: list[int]) -> None:
    written = cases.run("written")
    for store in ("kv", "sql"):
        assert not set(acknowledged) - set(written[store]), f"acknowledged and lost in {store}"
        assert len(written[store]) == len(set(written[store]))


def test_every_acknowledged_write_survives_kill_9_in_a_loop(home: Project, cases: Cases) -> None:
    cases.run("exec", "CREATE TABLE writes (n INTEGER)")
    writer = Writer(cases)
    writer.start()
    killed = []
    try:
        for _ in range(5):
            writer.wait_for(20)
            (process,) = wait_until(lambda: storage_processes(home.server, home.id), what="the storage process")
            killed.append(process.pid)
            process.kill()
            process.wait(60)
        writer.wait_for(20)
    finally:
        writer.stop()
    assert len(set(killed)) == 5, "each was a process of its own"
    assert len(writer.acknowledged) >= 120
    check_written(cases, writer.acknowledged)


def test_every_acknowledged_write_survives_kill_9_of_the_server(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    with Server(tmp_path / "data") as server, server.client() as client:
        cases = Cases(Kapso(client), CASES)
        cases.run("exec", "CREATE TABLE writes (n INTEGER)")
        writer = Writer(cases)
        writer.start()
        children = server.children()
        try:
            writer.wait_for(50)
            server.kill()
        finally:
            writer.stop()
        acknowledged = writer.acknowledged
        psutil.wait_procs(children, timeout=60)
        assert not [child for child in children if child.is_running()], "the children die with the server"
    with Server(tmp_path / "data") as again, again.client() as client:
        cases.kapso = Kapso(client)
        check_written(cases, acknowledged)


def test_a_project_has_one_process_and_only_once_it_stores(
    server: Server, root: httpx.Client, home: Project, cases: Cases
) -> None:
    """`home` is another project beside the one looked at."""
    with new_project(server, root) as fresh:
        first = Cases(Kapso(fresh.client), CASES)
        assert first.run("idle") == "nothing"
        assert storage_processes(server, fresh.id) == []
        second = Cases(Kapso(fresh.client), CASES, name="Second")
        callers = [
            threading.Thread(target=user.run, args=("put", f"k{i}", "v")) for i, user in enumerate([first, second] * 4)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        (own,) = storage_processes(server, fresh.id)
        cases.run("put", "other", "v")
        (other,) = storage_processes(server, home.id)
        assert own.pid != other.pid
        assert first.run("names") == [f"k{i}" for i in range(8)]
    wait_until(lambda: not own.is_running(), what="the end of the deleted project's process")
    assert not folder(server, fresh.id).exists()


def test_the_process_holds_a_lock_that_keeps_a_second_owner_off(home: Project, cases: Cases) -> None:
    cases.run("put", "locked", "v")
    (process,) = storage_processes(home.server, home.id)
    with (folder(home.server, home.id) / "lock").open("r+b") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.kill()
        process.wait(60)
        # It is free at the latest when the process is gone; then the server may not start one while we have it.
        wait_until(lambda: _take(lock.fileno()), what="the lock")
        answers: list[object] = []
        caller = threading.Thread(target=lambda: answers.append(cases.run("get", "locked")))
        before = home.server.log.count("another process owns it")
        caller.start()
        wait_until(lambda: home.server.log.count("another process owns it") > before, what="the complaint")
        assert storage_processes(home.server, home.id) == []
        assert answers == []
        fcntl.flock(lock, fcntl.LOCK_UN)
        caller.join()
    assert answers == ["v"], "the call waited until the files were free"


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_a_project_whose_files_cannot_be_opened_works_once_they_can(home: Project, server: Server) -> None:
    lock = folder(server, home.id) / "lock"
    lock.mkdir(parents=True)
    value = f"/isolet/v1/projects/{home.slug}/kv/k"
    stored = threading.Thread(target=home.client.put, args=(value,), daemon=True)
    stored.start()
    wait_until(lambda: f"Is a directory: '{lock}'" in server.log, what="the failure")

    lock.rmdir()

    stored.join(60)
    assert home.client.get(value).status_code == 200


def test_the_process_is_sandboxed_and_has_no_network(home: Project, cases: Cases) -> None:
    cases.run("put", "sandboxed", "v")
    (process,) = storage_processes(home.server, home.id)
    proc = Path("/proc") / str(process.pid)
    for namespace in ("net", "user", "pid", "ipc", "uts", "mnt"):
        own, host = (proc / "ns" / namespace).readlink(), Path("/proc/self/ns", namespace).readlink()
        assert own != host, f"the {namespace} namespace is its own"
    devices = [line.split(":")[0].strip() for line in (proc / "net" / "dev").read_text().splitlines()[2:]]
    assert devices == ["lo"]
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert (proc / "environ").read_bytes() == b"PWD=/\x00"
    assert sorted(path.name for path in (proc / "root").iterdir() if path.name not in ("lib", "lib64", "usr")) == [
        "data",
        "dev",
        "host",
        "proc",
        "workerd",
    ]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose instances and stores stop quickly."""
    with Server(tmp_path_factory.mktemp("short") / "data", idle_timeout_s=0.2) as server:
        yield server


def test_an_idle_process_stops_and_what_it_stored_stays(short: Server) -> None:
    with short.client() as root, new_project(short, root) as project:
        cases = Cases(Kapso(project.client), CASES)
        cases.run("put", "kept", "v")
        (process,) = storage_processes(short, project.id)
        wait_until(lambda: not process.is_running(), what="the end of the idle process")
        wait_until(lambda: not list((short.data_dir / "run" / "storage").iterdir()), what="the end of its sockets")
        assert cases.run("get", "kept") == "v"
        assert [found.pid != process.pid for found in storage_processes(short, project.id)] == [True]


def test_expired_keys_vanish(short: Server) -> None:
    with short.client() as root, new_project(short, root) as project:
        cases = Cases(Kapso(project.client), CASES)
        now = int(time.time())
        cases.run("put", "ttl", "v", {"expirationTtl": 60})
        cases.run("put", "at", "v", {"expiration": now + 3600})
        cases.run("put", "stays", "v")
        assert cases.run("names") == ["at", "stays", "ttl"]
        wait_until(lambda: not storage_processes(short, project.id), what="the end of the idle process")
        with kv_index(short, project.id) as index:
            stored = dict(index.execute("SELECT key, expiration FROM entries"))
            assert stored["stays"] is None
            per_second = 1 if stored["at"] == now + 3600 else 1000
            assert stored["at"] == (now + 3600) * per_second
            assert 0 <= stored["ttl"] - (now + 60) * per_second <= 10 * per_second
            index.execute("UPDATE entries SET expiration = ? WHERE key IN ('ttl', 'at')", [(now - 1) * per_second])
        assert cases.run("get", "ttl") is None
        assert cases.run("get", "at") is None
        assert cases.run("names") == ["stays"]
        assert cases.run("names", {"prefix": "t"}) == []
