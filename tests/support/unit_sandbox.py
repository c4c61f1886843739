"""Runs a command under what a systemd unit takes away, as far as that can be done without systemd.

`python -m tests.support.unit_sandbox UNIT WRITABLE COMMAND…`, as a user that is not root, in a user and a mount
namespace of its own and with the capabilities of those. It applies CapabilityBoundingSet and NoNewPrivileges,
ProtectSystem=strict with WRITABLE for the state directory, LimitNOFILE, SystemCallFilter and RestrictAddressFamilies by
seccomp. It leaves out what hides folders that the tests may be in (ProtectHome, PrivateTmp), and PrivateDevices.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_PR_CAPBSET_DROP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 24, 22, 38
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_CAPABILITIES = 64
_LD_ABS, _JEQ, _RET = 0x20, 0x15, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def options(unit: Path) -> dict[str, list[str]]:
    """The words of each option."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).extend(value.split())
    return found


def calls(names: Iterable[str]) -> set[str]:
    """The system calls of names and of groups as systemd has them."""
    found: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        listed = subprocess.run(
            ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        found |= calls(word for word in listed.split("\n", 1)[1].split() if re.fullmatch(r"@?[a-z0-9_-]+", word))
    return found


def numbers() -> dict[str, int]:
    """Of the system calls, as the C library's headers have them."""
    command = ["cc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"]
    defined = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    return {name: int(number) for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", defined, re.MULTILINE)}


def seccomp_filter(allowed: set[str], families: Iterable[str]) -> bytes:
    """All other calls fail with EPERM. clone3 is not there, as systemd does it where namespaces are restricted."""
    known = numbers()
    load_number = struct.pack("<HBBI", _LD_ABS, 0, 0, 0)
    lines = [struct.pack("<HBBI", _LD_ABS, 0, 0, 4)]
    lines += [struct.pack("<HBBI", _JEQ, 1, 0, _ARCHITECTURES[platform.machine()]), _returns(_KILL), load_number]
    lines += _when(known["clone3"], _ERRNO | errno.ENOSYS)
    for name in sorted(allowed & known.keys() - {"socket", "clone3"}):
        lines += _when(known[name], _ALLOW)
    lines += [struct.pack("<HBBI", _JEQ, 1, 0, known["socket"]), _returns(_ERRNO | errno.EPERM)]
    lines.append(struct.pack("<HBBI", _LD_ABS, 0, 0, 16))
    for family in families:
        lines += _when(int(getattr(socket, family)), _ALLOW)
    lines.append(_returns(_ERRNO | errno.EAFNOSUPPORT))
    return b"".join(lines)


def _when(value: int, action: int) -> list[bytes]:
    return [struct.pack("<HBBI", _JEQ, 0, 1, value), _returns(action)]


def _returns(action: int) -> bytes:
    return struct.pack("<HBBI", _RET, 0, 0, action)


def restrict(unit: Path, writable: Path) -> None:
    wanted = options(unit)
    assert wanted["ProtectSystem"] == ["strict"]
    assert wanted["NoNewPrivileges"] == ["yes"]
    assert wanted["CapabilityBoundingSet"] == []
    program = seccomp_filter(calls(wanted["SystemCallFilter"]), wanted["RestrictAddressFamilies"])
    files = min(int(wanted["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    subprocess.run(["mount", "--bind", str(writable), str(writable)], check=True, timeout=30)
    subprocess.run(["mount", "-o", "remount,bind,ro", "/"], check=True, timeout=30)
    os.chdir(writable)
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _check(libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0))
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    _check(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(head), 0, 0))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    # What is bound read-only would be written to otherwise.
    sys.dont_write_bytecode = True
    restrict(Path(sys.argv[1]), Path(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606
