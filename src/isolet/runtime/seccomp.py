"""A seccomp filter for bubblewrap: what workerd never needs, the kernel refuses.

No new processes (threads are allowed), no network sockets, no namespaces, mounts, tracing, keys, modules or BPF. The
program is classic BPF, as seccomp(2) takes it; system call numbers are those of the Linux ABI.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct

_LD_ABS, _JEQ, _JSET, _RET = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_OFFSET_NR, _OFFSET_ARCH, _OFFSET_ARG0 = 0, 4, 16
_CLONE_THREAD = 0x00010000
_X32_BIT = 0x40000000

# name: (x86_64, aarch64); None where the architecture has no such call.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "acct": (163, 89),
    "mount": (165, 40),
    "umount2": (166, 39),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "quotactl": (179, 60),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "finit_module": (313, 273),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
}
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)


def program(*, network: bool) -> bytes:
    """The filter as an array of `struct sock_filter`. With `network` sockets of every family are allowed."""
    column, arch = _ARCHITECTURES[platform.machine()]
    lines = [_load(_OFFSET_ARCH), struct.pack("<HBBI", _JEQ, 1, 0, arch), _return(_KILL), _load(_OFFSET_NR)]
    lines += [struct.pack("<HBBI", _JSET, 0, 1, _X32_BIT), _return(_KILL)]
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            lines += [_skip_unless(number), _return(_ERRNO | errno.EPERM)]
    # glibc falls back to clone, whose flags can be read.
    lines += [_skip_unless(_CLONE3[column]), _return(_ERRNO | errno.ENOSYS)]
    lines += [struct.pack("<HBBI", _JEQ, 0, 4, _CLONE[column]), _load(_OFFSET_ARG0)]
    lines += [struct.pack("<HBBI", _JSET, 1, 0, _CLONE_THREAD), _return(_ERRNO | errno.EPERM), _return(_ALLOW)]
    if not network:
        lines += [struct.pack("<HBBI", _JEQ, 0, 4, _SOCKET[column]), _load(_OFFSET_ARG0)]
        lines += [struct.pack("<HBBI", _JEQ, 1, 0, socket.AF_UNIX), _return(_ERRNO | errno.EAFNOSUPPORT)]
        lines += [_return(_ALLOW)]
    lines.append(_return(_ALLOW))
    return b"".join(lines)


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", _LD_ABS, 0, 0, offset)


def _skip_unless(value: int) -> bytes:
    """Go on to the next line when the loaded word is `value`, else over it."""
    return struct.pack("<HBBI", _JEQ, 0, 1, value)


def _return(action: int) -> bytes:
    return struct.pack("<HBBI", _RET, 0, 0, action)
