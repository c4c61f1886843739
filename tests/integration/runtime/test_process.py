import asyncio
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from isolet.errors import PlatformError
from isolet.runtime.config import SOCKET_NAME, ConfigBuilder
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.process import Child, ChildSpec, listen
from isolet.runtime.sandbox import Sandbox
from isolet.toolchain import Toolchain
from tests.support.programs import script
from tests.support.runtime import a_spec
from tests.support.waiting import wait_until

HELLO = "export default () => new Response('hello');"
LISTENS = """
import os, sys
ready = next(int(part.partition("=")[2]) for part in sys.argv if part.startswith("--control-fd="))
os.write(ready, b'{"event":"listen"}\\n')
"""
SHOWS_DESCRIPTORS = """
import os
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        print(fd > 2, os.readlink(f"/proc/self/fd/{fd}").split(":")[0])
    except OSError:
        pass
"""
Spawn = Callable[..., Child]


@pytest.fixture
async def spawn(
    sandbox: Sandbox, configs: ConfigBuilder, pid_files: PidFiles, run_folder: Path
) -> AsyncIterator[Spawn]:
    """Starts children; each is gone when the test ends."""
    children: list[Child] = []
    listeners: list[socket.socket] = []

    def start(
        module: str = HELLO, *, within: Sandbox = sandbox, on_line: Callable[[bytes], None] | None = None
    ) -> Child:
        listener = listen(run_folder / f"{len(children)}.sock")
        listeners.append(listener)
        config = configs.instance(a_spec(module), egress="/nowhere/egress", storage="/nowhere")
        spec = ChildSpec(name="test", config=config, listeners={SOCKET_NAME: listener})
        child = Child(spec, within, pid_files, on_line=on_line)
        children.append(child)
        return child

    try:
        yield start
    finally:
        for child in children:
            child.kill()
            await asyncio.wait_for(asyncio.shield(child.exited), 60)
        for listener in listeners:
            listener.close()


@pytest.fixture
def scripted(toolchain: Toolchain, tmp_path: Path) -> Callable[[str], Sandbox]:
    """No sandbox, and a program of the test in place of workerd."""

    def make(source: str) -> Sandbox:
        return Sandbox(replace(toolchain, workerd=script(tmp_path / "workerd", source)), enabled=False)

    return make


async def test_a_child_starts_where_its_pid_cannot_be_noted(spawn: Spawn, pid_files: PidFiles) -> None:
    """As on a full disk."""
    shutil.rmtree(pid_files._folder)
    assert await spawn().started(60)


def group_exists(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_that_cannot_be_watched_does_not_go_on_running(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def no_descriptor(pid: int) -> int:
        begun.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("isolet.runtime.process.os.pidfd_open", no_descriptor)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PlatformError, match="cannot start workerd: Too many open files"):
        spawn()
    (pid,) = begun
    assert not psutil.pid_exists(pid)
    wait_until(lambda: not group_exists(pid), what="the end of what it began")
    # The listener stays the caller's.
    assert len(os.listdir("/proc/self/fd")) == before + 1


async def get(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(60):
        reply = await reader.read()
    writer.close()
    await writer.wait_closed()
    return reply


async def ended(child: Child) -> int:
    async with asyncio.timeout(60):
        return await asyncio.shield(child.exited)


@pytest.fixture(params=["sandboxed", "bare"])
def either(request: pytest.FixtureRequest, sandbox: Sandbox, toolchain: Toolchain) -> Sandbox:
    return sandbox if request.param == "sandboxed" else Sandbox(toolchain, enabled=False)


async def test_a_child_is_ready_once_it_answers(spawn: Spawn, either: Sandbox, run_folder: Path) -> None:
    child = spawn(within=either)
    assert await child.started(60) is True
    reply = await get(run_folder / "0.sock")
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert reply.endswith(b"hello")


async def test_the_pid_is_that_of_workerd_itself(spawn: Spawn, either: Sandbox) -> None:
    child = spawn(within=either)
    await child.started(60)
    assert psutil.Process(child.pid).name() == "workerd"


async def test_a_module_that_does_not_load_is_complained_of(spawn: Spawn, either: Sandbox) -> None:
    child = spawn("throw new Error('on purpose');", within=either)
    assert await child.started(60) is False
    assert await ended(child) > 0
    assert "Uncaught Error: on purpose" in child.stderr_tail


async def test_a_killed_child_ends_by_the_signal(spawn: Spawn, either: Sandbox) -> None:
    child = spawn(within=either)
    await child.started(60)
    pid = child.pid
    child.kill()
    assert await ended(child) == -signal.SIGKILL
    assert not psutil.pid_exists(pid), "not even a zombie is left"
    child.kill()


@pytest.mark.parametrize("enabled", [True, False], ids=["sandboxed", "bare"])
async def test_a_child_can_be_killed_before_it_is_ready(
    spawn: Spawn, toolchain: Toolchain, run_folder: Path, enabled: bool
) -> None:
    bubblewrap = run_folder / "bwrap"
    bubblewrap.symlink_to(toolchain.bubblewrap)
    sandbox = Sandbox(replace(toolchain, bubblewrap=bubblewrap), enabled=enabled)
    ready = []
    for _ in range(10):
        child = spawn(within=sandbox)
        child.kill()
        ready.append(await child.started(60))
        assert await ended(child) == -signal.SIGKILL
    # This process may have had to wait before it came to the kill.
    assert False in ready

    def left() -> list[psutil.Process]:
        """By its path: other tests start and kill bubblewraps on this machine too."""
        found = psutil.process_iter(["cmdline"])
        return [process for process in found if str(bubblewrap) in (process.info["cmdline"] or ())]

    wait_until(lambda: not left(), what="the end of bubblewraps that nobody waits for")


async def test_killing_workerd_from_outside_is_seen(spawn: Spawn, either: Sandbox) -> None:
    child = spawn(within=either)
    await child.started(60)
    os.kill(child.pid, signal.SIGKILL)
    assert await ended(child) == -signal.SIGKILL


async def test_killing_bubblewrap_takes_workerd_along(spawn: Spawn, pid_files: PidFiles, run_folder: Path) -> None:
    child = spawn()
    await child.started(60)
    (outer,) = (int(file.name) for file in (run_folder / "pids").iterdir())
    inner = psutil.Process(child.pid)
    assert outer != child.pid
    os.kill(outer, signal.SIGKILL)
    assert await ended(child) == -signal.SIGKILL
    inner.wait(60)
    assert not inner.is_running()


async def test_a_child_that_says_nothing_is_waited_for_only_so_long(
    spawn: Spawn, scripted: Callable[[str], Sandbox]
) -> None:
    child = spawn(within=scripted("import time\ntime.sleep(60)\n"))
    with pytest.raises(TimeoutError):
        await child.started(0.05)
    assert not child.exited.done()


@pytest.mark.parametrize(
    ("source", "status"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", -15)]
)
async def test_the_exit_status_is_told(
    spawn: Spawn, scripted: Callable[[str], Sandbox], source: str, status: int
) -> None:
    child = spawn(within=scripted(source))
    assert await child.started(60) is False
    assert await ended(child) == status


async def test_a_child_that_listened_and_ended_did_listen(spawn: Spawn, scripted: Callable[[str], Sandbox]) -> None:
    child = spawn(within=scripted(LISTENS))
    assert await child.started(60) is True
    assert await ended(child) == 0


async def test_the_configuration_comes_on_standard_input_from_memory(
    spawn: Spawn, scripted: Callable[[str], Sandbox]
) -> None:
    lines: list[bytes] = []
    source = "import os, sys\nprint(os.readlink('/proc/self/fd/0'), b'hello' in sys.stdin.buffer.read())"
    child = spawn(within=scripted(source), on_line=lines.append)
    await ended(child)
    assert lines == [b"/memfd:config (deleted) True"]


async def test_a_child_sees_nothing_of_our_environment(spawn: Spawn, either: Sandbox) -> None:
    child = spawn(within=either)
    await child.started(60)
    assert set(psutil.Process(child.pid).environ()) <= {"PWD"}


async def test_neither_code_nor_secrets_stand_on_a_command_line(spawn: Spawn, either: Sandbox) -> None:
    child = spawn("export default () => new Response('a secret');", within=either)
    await child.started(60)
    assert "a secret" not in " ".join(psutil.Process(child.pid).cmdline())


async def test_a_child_inherits_only_what_it_was_given(spawn: Spawn, scripted: Callable[[str], Sandbox]) -> None:
    lines: list[bytes] = []
    with await asyncio.to_thread(open, os.devnull, "rb") as held:
        os.set_inheritable(held.fileno(), True)
        await ended(spawn(within=scripted(SHOWS_DESCRIPTORS), on_line=lines.append))
    # The filter of system calls, the pipes to say that it is ready and which pid it has, and its listening socket.
    given = sorted(line for line in lines if line.startswith(b"True"))
    assert given == [b"True /memfd", b"True pipe", b"True pipe", b"True socket"]


async def test_output_comes_in_lines_to_the_last(spawn: Spawn, scripted: Callable[[str], Sandbox]) -> None:
    lines: list[bytes] = []
    source = "import os\nfor n in range(20000): os.write(1, b'%d\\n' % n)\nos.write(1, b'cut')"
    await ended(spawn(within=scripted(source), on_line=lines.append))
    assert lines == [b"%d" % number for number in range(20_000)]


async def test_a_line_without_end_is_not_kept(spawn: Spawn, scripted: Callable[[str], Sandbox]) -> None:
    lines: list[bytes] = []
    source = "import os\nfor _ in range(64): os.write(1, b'x' * 65536)\nos.write(1, b'\\nlast\\n')"
    child = spawn(within=scripted(source), on_line=lines.append)
    await ended(child)
    assert len(lines) == 2
    assert len(lines[0]) <= 262_144 + 65_536
    assert lines[1] == b"last"


async def test_only_the_end_of_endless_complaints_is_kept(spawn: Spawn, scripted: Callable[[str], Sandbox]) -> None:
    source = "import os\nfor n in range(18000): os.write(2, b'%9d ' % n + b'x' * 89 + b'\\n')"
    child = spawn(within=scripted(source))
    await ended(child)
    # As many whole lines of 100 bytes as 16 KiB hold.
    assert child.stderr_tail == "".join(f"{number:9} {'x' * 89}\n" for number in range(18_000 - 163, 18_000))


async def test_a_report_of_bubblewrap_that_comes_in_parts_is_read_to_its_end(
    spawn: Spawn, toolchain: Toolchain, tmp_path: Path
) -> None:
    source = """
import fcntl, os, signal, struct, sys, termios, time
info = int(sys.argv[sys.argv.index("--info-fd") + 1])
inside = os.fork()
if not inside:
    time.sleep(60)
for part in (b'{\\n    "child-pid": %d' % inside, b',\\n    "net-namespace": 5', b'\\n}\\n'):
    os.write(info, part)
    while struct.unpack("i", fcntl.ioctl(info, termios.FIONREAD, b"....")) != (0,): pass
os.close(info)
ready = next(int(part.partition("=")[2]) for part in sys.argv if part.startswith("--control-fd="))
os.write(ready, b"listening")
os.close(ready)
_, status = os.waitpid(inside, 0)
sys.exit(128 + os.WTERMSIG(status))
"""
    bubblewrap = script(tmp_path / "bwrap", source)
    child = spawn(within=Sandbox(replace(toolchain, bubblewrap=bubblewrap), enabled=True))
    assert await child.started(60) is True
    parent = psutil.Process(child.pid).parent()
    assert parent is not None
    assert parent.ppid() == os.getpid()
    child.kill()
    assert await ended(child) == -signal.SIGKILL


async def test_a_program_that_is_not_there_is_told(spawn: Spawn, toolchain: Toolchain, run_folder: Path) -> None:
    missing = Sandbox(replace(toolchain, workerd=Path("/nowhere/workerd")), enabled=False)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(PlatformError, match=r"^cannot start workerd: No such file or directory$"):
        spawn(within=missing)
    # One more is the listening socket, which belongs to the test.
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1


async def test_no_descriptor_is_left_of_a_child(spawn: Spawn, either: Sandbox) -> None:
    await ended_after_kill(spawn(within=either))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await ended_after_kill(spawn(within=either))
    # Each of the three left its listening socket, which belongs to the test.
    assert len(os.listdir("/proc/self/fd")) == before + 3


async def ended_after_kill(child: Child) -> None:
    await child.started(60)
    child.kill()
    await ended(child)


async def test_a_running_child_has_a_pid_file_until_it_ended(spawn: Spawn, run_folder: Path) -> None:
    child = spawn()
    await child.started(60)
    (file,) = (run_folder / "pids").iterdir()
    assert psutil.Process(child.pid).parent().pid == int(file.name)  # type: ignore[union-attr]
    child.kill()
    await ended(child)
    assert list((run_folder / "pids").iterdir()) == []


def test_processes_of_an_earlier_run_are_killed(pid_files: PidFiles, run_folder: Path) -> None:
    left = subprocess.Popen(["/bin/sleep", "60"])
    pid_files.add(left.pid)

    assert PidFiles(run_folder / "pids").kill_leftovers() == 1

    assert left.wait(60) == -signal.SIGKILL
    assert list((run_folder / "pids").iterdir()) == []


SPAWNS_AND_DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from isolet.runtime.config import SOCKET_NAME
from isolet.runtime.process import Child, ChildSpec, listen
from isolet.runtime.pid_files import PidFiles
from isolet.runtime.sandbox import Sandbox
from isolet.toolchain import find

class DiesAtOnce(PidFiles):
    def add(self, pid):
        super().add(pid)
        os.kill(os.getpid(), signal.SIGKILL)

async def main(folder, bound):
    listeners = {SOCKET_NAME: listen(folder / "socket")}
    spec = ChildSpec(name="doomed", config=b"", listeners=listeners, writable={"/bound": bound})
    Child(spec, Sandbox(find(), enabled=True), DiesAtOnce(folder / "pids"))

asyncio.run(main(*map(Path, sys.argv[1:])))
"""


@pytest.mark.parametrize("bound", ["run/egress", "data/storage"])
def test_what_a_parent_leaves_that_dies_as_it_spawns_ends_at_the_next_start(run_folder: Path, bound: str) -> None:
    inside = run_folder / "run"
    inside.mkdir()
    (run_folder / bound).mkdir(parents=True)

    def left() -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                if str(run_folder) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except psutil.NoSuchProcess:
                continue
        return found

    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", SPAWNS_AND_DIES, inside, run_folder / bound], timeout=30, check=False
        )
        assert done.returncode == -signal.SIGKILL
        PidFiles(inside / "pids", data=run_folder / "data").kill_leftovers()
        wait_until(lambda: not left(), what="the end of what was left")


def test_a_process_that_only_took_an_old_pid_is_left_alone(pid_files: PidFiles, run_folder: Path) -> None:
    other = subprocess.Popen(["/bin/sleep", "60"])
    try:
        (run_folder / "pids" / str(other.pid)).write_text("12345")
        assert pid_files.kill_leftovers() == 0
        assert other.poll() is None
        assert list((run_folder / "pids").iterdir()) == []
    finally:
        other.kill()
        other.wait(60)


def test_a_copy_of_the_folder_leaves_the_originals_processes_alone(pid_files: PidFiles, run_folder: Path) -> None:
    running = subprocess.Popen(["/bin/sleep", "60"])
    try:
        pid_files.add(running.pid)
        shutil.copytree(run_folder / "pids", run_folder / "copy" / "pids", copy_function=shutil.copy2)
        copy = PidFiles(run_folder / "copy" / "pids")

        assert (copy.kill_leftovers(), copy.foreign) == (0, False)

        assert running.poll() is None
        assert list((run_folder / "copy" / "pids").iterdir()) == []
    finally:
        running.kill()
        running.wait(60)


def test_a_pid_file_of_an_earlier_version_ends_nobody_and_tells_of_a_copy(
    pid_files: PidFiles, run_folder: Path
) -> None:
    running = subprocess.Popen(["/bin/sleep", "60"])
    try:
        ticks = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[19]
        (run_folder / "pids" / str(running.pid)).write_text(ticks)

        assert (pid_files.kill_leftovers(), pid_files.foreign) == (0, True)

        assert running.poll() is None
    finally:
        running.kill()
        running.wait(60)


async def test_a_copy_inside_the_folder_keeps_its_processes(
    spawn: Spawn, run_folder: Path, pid_files: PidFiles
) -> None:
    child = spawn()
    await child.started(60)

    # Of another folder whose name begins like this one's, and of the one around it.
    for folder in (run_folder.with_name(run_folder.name + "-copy"), run_folder.parent):
        assert PidFiles(run_folder / "other" / "pids", data=folder / "projects").kill_leftovers() == 0

    assert not child.exited.done()
    await ended_after_kill(child)


def test_a_process_that_is_gone_is_no_leftover(pid_files: PidFiles, run_folder: Path) -> None:
    gone = subprocess.Popen(["/bin/true"])
    pid_files.add(gone.pid)
    gone.wait(60)
    assert pid_files.kill_leftovers() == 0
    assert list((run_folder / "pids").iterdir()) == []


def test_a_file_that_names_no_process_stops_nobody(pid_files: PidFiles, run_folder: Path) -> None:
    (run_folder / "pids" / "notes.txt").write_text("by hand")
    assert pid_files.kill_leftovers() == 0


def test_listening_takes_the_place_of_what_stood_there(run_folder: Path) -> None:
    (run_folder / "s").write_text("a file")
    with listen(run_folder / "s"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(run_folder / "s"))
        assert client.getpeername() == str(run_folder / "s")


def test_a_path_that_cannot_be_listened_on_leaves_no_socket(run_folder: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="too long"):
        listen(run_folder / ("x" * 200))
    assert os.listdir("/proc/self/fd") == before
