"""Confinement by Linux of a process that parses untrusted media: no files, the network, other processes, other programs.

Two mechanisms that need no privilege: Landlock (Linux 5.13) for files, TCP, signals and reads of other processes, and a
seccomp filter (x86-64) for system calls that the parsers never make. Both last as long as the process, and no privilege
lifts them. Numbers and layouts: linux/landlock.h, linux/seccomp.h, linux/filter.h, asm/unistd_64.h.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import struct
import sys
import sysconfig
import types
from collections.abc import Iterable, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

_NO_NEW_PRIVS, _SECCOMP_SET_FILTER, _TSYNC = 38, 1, 1
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _SECCOMP = 444, 445, 446, 317
_PATH_BENEATH, _VERSION = 1, 1

_READ = 1 << 2 | 1 << 3
"""READ_FILE and READ_DIR."""
_FILES = (1 << 13) - 1
"""All rights of Landlock's first version: execute, write, read, remove, make."""
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_FILE_ONLY = 1 << 1 | 1 << 2 | _TRUNCATE
_OWN = 1 << 1 | _READ | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | _REFER | _TRUNCATE
"""In its own folder: regular files and folders, written, read, made, removed, renamed; no links, pipes or devices."""
_TCP = 1 << 0 | 1 << 1
_SCOPES = 1 << 0 | 1 << 1
"""Abstract Unix sockets and signals of other processes."""

READABLE = ("/usr", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types")
"""Libraries and what they look up, beside our code."""
_MACHINE = ("/dev/urandom", "/dev/random", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system")

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38
_X86_64 = 0xC000003E
_LOAD, _EQUAL, _AT_LEAST, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

_REFUSED = (
    *(41, 42, 43, 49, 50, 288),  # socket, connect, accept, bind, listen, accept4; socketpair stays
    *(101, 310, 311, 312, 434, 438, 424, 440, 448, 256, 279),  # ptrace, memory and descriptors of other processes
    *(200, 129, 297),  # tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
    *(57, 58, 59, 322),  # fork, vfork, execve, execveat
    *(425, 426, 427),  # io_uring, which makes calls that no filter sees
    *(90, 91, 268, 452, 92, 93, 94, 260, 188, 189, 190, 197, 198, 199, 132, 235, 261, 280),  # modes, owners, times
    *(76, 133, 259),  # truncate by name, mknod, mknodat
    *(29, 30, 68, 64, 240),  # System V and POSIX shared memory, queues, semaphores
    *(165, 166, 155, 161, 272, 308, 428, 429, 430, 431, 432, 433, 442),  # mounts, roots, namespaces
    *(321, 298, 248, 249, 250, 323, 303, 304),  # bpf, perf, keys, userfaultfd, file handles
    *(175, 313, 176, 246, 320, 169, 172, 173, 167, 168, 164, 227, 305, 163, 103, 170, 171, 179),  # of administrators
)
_OWN_PID = {62: 0, 234: 0, 302: 0}
"""kill, tgkill and prlimit64, which may name this process alone: call -> the argument with the pid."""

_CLONE, _CLONE3, _IOCTL_CALL = 56, 435, 16
_NAMESPACES, _THREAD = 0x7E020080, 0x00010000
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: what they write is typed at the terminal, into the shell that started the command."""

_Instruction = tuple[int, int, int, int]


def confine(folder: Path, packages: Iterable[types.ModuleType]) -> list[str]:
    """Confine this process for good: code and libraries to read, `folder` to write, nothing else; what is open stays open.

    `packages` are ours, which may lie anywhere. Return the mechanisms that are in force, none on a system without them.
    Raises OSError when there are other threads already: Landlock holds for those that are started later alone.
    """
    if sys.platform != "linux":
        return []
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - names are counted
        raise OSError("the process has threads already, which would not be confined")
    libc = ctypes.CDLL(None, use_errno=True)
    code = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    code += [sys.prefix, sys.base_prefix, *(package.__path__[0] for package in packages)]
    in_force = []
    try:
        _call(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        version = max(0, int(libc.syscall(_CREATE_RULESET, None, 0, _VERSION)))
        if version:
            _restrict(libc, version, [*READABLE, *_MACHINE, *code], folder)
            in_force.append(f"landlock {version}")
        if platform.machine() == "x86_64":
            _filter_calls(libc, _program(os.getpid()))
            in_force.append("seccomp")
    except OSError as error:
        logger.warning("this system does not let the process that parses media be confined (%s)", error)
    return in_force


def _call(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _restrict(libc: ctypes.CDLL, version: int, readable: Sequence[str], folder: Path) -> None:
    """Enforce Landlock rules."""
    handled = _FILES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    handled |= _IOCTL if version >= 5 else 0
    rules = struct.pack("QQQ", handled, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    rules = rules[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = _call(libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0), "landlock_create_ruleset")
    try:
        for path in dict.fromkeys(readable):
            _allow(libc, ruleset, path, _READ & handled)
        _allow(libc, ruleset, "/dev/null", _FILE_ONLY & handled)
        _allow(libc, ruleset, str(folder), _OWN & handled)
        _call(libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there, or out of reach without any rule
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - a text
            access &= _FILE_ONLY
        rule = struct.pack("=Qi", access, file)
        _call(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0), f"landlock_add_rule {path}")
    finally:
        os.close(file)


def _program(pid: int) -> list[_Instruction]:
    """Return the filter: refused calls fail with EPERM, all others pass. It sees each call's number and arguments."""
    refuse, unknown = (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ERRNO | _ENOSYS)
    allow, load = (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 0)
    program: list[_Instruction] = [
        (_LOAD, 0, 0, 4),  # the architecture: calls of another one have other numbers
        (_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        load,
        (_AT_LEAST, 0, 1, 0x40000000),  # x32's numbers
        refuse,
    ]
    for number in _REFUSED:
        program += [(_EQUAL, 0, 1, number), refuse]
    program += [
        (_EQUAL, 0, 1, _CLONE3),
        unknown,
    ]  # its flags are in memory, out of sight; the C library falls back to clone
    program += [(_EQUAL, 0, 6, _CLONE), (_LOAD, 0, 0, 16), (_SET, 0, 1, _NAMESPACES), refuse]
    program += [(_SET, 1, 0, _THREAD), refuse, allow]  # threads alone: a process would outlive its parent's kill
    program += [(_EQUAL, 0, 5, _IOCTL_CALL), (_LOAD, 0, 0, 24)]
    program += [(_EQUAL, 1, 0, _TERMINAL_INPUT[0]), (_EQUAL, 0, 1, _TERMINAL_INPUT[1]), refuse, allow]
    for number, argument in _OWN_PID.items():
        program += [
            (_EQUAL, 0, 5, number),
            (_LOAD, 0, 0, 16 + 8 * argument),
            (_EQUAL, 1, 0, pid),
            (_EQUAL, 0, 1, 0 if number == 302 else pid),
            allow,
            refuse,
        ]
    return [*program, allow]


def _filter_calls(libc: ctypes.CDLL, program: Sequence[_Instruction]) -> None:
    """Enforce a seccomp filter for all threads."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HP", len(program), ctypes.addressof(buffer))
    _call(libc.syscall(_SECCOMP, _SECCOMP_SET_FILTER, _TSYNC, header), "seccomp")
