"""Runs esbuild with bounds on its memory and processor time, and says why it gave up."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field

from isolet.domain.versions import Language, Module
from isolet.errors import BuildFailed, PlatformError
from isolet.limited import limited, run_tool

CPU_MAX_S = 10
MEMORY_MAX_MB = 256
EXPORT_HANDLER = "\n;export { handler };\n"
NOT_DECLARED = '"handler" is not declared in this file'
NO_HANDLER = (
    "Function must export a handler function: define `async function handler(request, env)` "
    "or `export default` a function or an object with `fetch`"
)
# How the program says that a recursion of its own went too deep.
_STACK_IS_FULL = "goroutine stack exceeds"
_NO_MEMORY = re.compile(r"out of memory|cannot allocate|failed to create new OS thread")
_TOO_LONG = f"the code took longer than {CPU_MAX_S} s to compile"
# By the kernel for its processor time; through bubblewrap and a shell the number is a status.
_KILLED = (-9, -24, 128 + 9, 128 + 24)
# A machine that is short of processor time may take that much longer.
_TIMEOUT_S = 120.0
# The collector of the program's memory keeps well below what ends it.
_COLLECT_ABOVE = "192MiB"

# Makes the command of a program and its arguments, as a sandbox has it: `reads` and `writable` are folders.
Wrap = Callable[..., list[str]]


class Bundle(Struct, frozen=True, kw_only=True):
    """`module` is the text of an ES module that exports `default`, `handler`, or both; it may import `modules`."""

    module: str
    language: Language
    modules: Mapping[str, Module] = field(default_factory=dict)


async def run_esbuild(command: Sequence[str], text: bytes, *, pass_fds: Sequence[int] = ()) -> str:
    """Its complaint about the code, empty when it had none. Raises BuildFailed, PlatformError."""
    bounded = limited(command, memory_bytes=MEMORY_MAX_MB * 1024**2, cpu_s=CPU_MAX_S)
    try:
        ended = await run_tool(bounded, text, timeout_s=_TIMEOUT_S, pass_fds=pass_fds, GOMEMLIMIT=_COLLECT_ABOVE)
    except TimeoutError:
        raise BuildFailed(_TOO_LONG) from None
    if ended.status == 0:
        return ""
    stderr_tail = ended.stderr.decode(errors="replace")
    if _STACK_IS_FULL in stderr_tail:
        raise BuildFailed("the code is nested too deeply to compile")
    if "[ERROR]" in stderr_tail:
        return stderr_tail
    if _NO_MEMORY.search(stderr_tail):
        raise BuildFailed(f"the code takes more than {MEMORY_MAX_MB} MB of memory to compile")
    if ended.status in _KILLED:
        raise BuildFailed(_TOO_LONG)
    raise PlatformError(f"cannot compile the code: esbuild ended with {ended.status}")
