"""Where minicore's own variables are: they change after minicore has copied them. And what
the kernel writes to a process by itself."""

import ctypes
import re
import struct
import subprocess

from tests.fidelity import elf_core

_NT_PRSTATUS = 1
_NT_AUXV = 6
_AT_ENTRY = 9
_PAGE = 4096
_RED_ZONE = 128
_RSEQ_BYTES = 32


def ranges(full_core, program, preload):
    """Ranges of memory that may differ between the cores, as (begin, end)."""
    found = _of_library(full_core, preload) if preload else _of_program(full_core, program)
    return found + dead_stack(full_core) + _restartable_sequences(full_core)


def _of_library(core, library):
    """All writable segments of the preloaded library."""
    begin = min(
        (first for first, _, name in elf_core.files(core) if name.endswith("/" + library.name)),
        default=None,
    )
    if begin is None:
        return []
    result = []
    for segment in elf_core.segments(library):
        if segment.kind == elf_core.PT_LOAD and segment.flags & 2:
            low = begin + segment.address
            end = low + segment.memory_bytes
            result.append((low // _PAGE * _PAGE, -(-end // _PAGE) * _PAGE))
    return result


def _of_program(core, program):
    """The variables of minicore and jemalloc in a program that links them."""
    listing = subprocess.run(
        ["nm", "-S", "--defined-only", str(program)], stdout=subprocess.PIPE, check=True, text=True
    ).stdout
    bias = _entry(core) - _entry_in_file(program)
    result = []
    for line in listing.splitlines():
        found = re.match(r"([0-9a-f]+) ([0-9a-f]+) [bBdD] (.*)", line)
        if found and re.search(r"minicore|^_?je_|jemalloc", found.group(3)):
            begin = bias + int(found.group(1), 16)
            result.append((begin // 8 * 8, begin + int(found.group(2), 16) + 7))
    return result


def dead_stack(core, size=None):
    """Below the red zone of each thread: `size` bytes, or what is in the page where its
    stack begins."""
    result = []
    for note in elf_core.notes(core):
        if note.type == _NT_PRSTATUS:
            (stack,) = struct.unpack_from("<Q", note.data, 112 + 19 * 8)
            low = stack - _RED_ZONE
            result.append((low // _PAGE * _PAGE if size is None else low - size, low))
    return result


def _restartable_sequences(core):
    """struct rseq of each thread, at the end of its control block: the number of the
    processor that it is on (glibc 2.36, sysdeps/unix/sysv/linux/rseq-internal.h)."""
    offset = ctypes.c_ssize_t.in_dll(ctypes.CDLL(None), "__rseq_offset").value
    result = []
    for note in elf_core.notes(core):
        if note.type == _NT_PRSTATUS:
            (thread_pointer,) = struct.unpack_from("<Q", note.data, 112 + 21 * 8)
            result.append((thread_pointer + offset, thread_pointer + offset + _RSEQ_BYTES))
    return result


def _entry(core):
    for note in elf_core.notes(core):
        if note.type == _NT_AUXV:
            pairs = struct.iter_unpack("<QQ", note.data[: len(note.data) // 16 * 16])
            return dict(pairs).get(_AT_ENTRY, 0)
    return 0


def _entry_in_file(program):
    with open(program, "rb") as file:
        return struct.unpack_from("<Q", file.read(64), 24)[0]
