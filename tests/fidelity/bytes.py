"""Compares memory, byte by byte: is what the small core says what was there?

Two kinds of memory may differ: what minicore's own handler wrote after it had copied it,
and what is dead. The former is found by its symbols and mappings, the latter is a stack
below the red zone.
"""

import struct

from tests.fidelity import elf_core

_PAGE = 4096
_MARKER = b"<ELIDED>"


def wrong_ranges(full_path, small_path, ignored):
    """Ranges of the small core's memory that differ from the full core's.

    ignored: list of (begin, end).
    Returns: (list of (address, size, of the full core, of the small one), bytes compared,
    bytes that only the small core has).
    """
    full = elf_core.Memory(full_path)
    small = elf_core.Memory(small_path)
    wrong = []
    compared = 0
    alone = 0
    for segment in small.loads:
        # p_memsz beyond p_filesz reads as zeros: in writable memory that is a claim.
        writable = segment.flags & 2
        size = segment.memory_bytes if writable else segment.file_bytes
        at = segment.address
        end = segment.address + size
        while at < end:
            part = min(end, (at // _PAGE + 1) * _PAGE) - at
            mine = small.read(at, part).ljust(part, b"\0")
            theirs = full.read(at, part)
            if len(theirs) == part:
                compared += part
                if mine != theirs:
                    wrong += _differences(at, theirs, mine, ignored)
            else:
                alone += part
            at += part
    return wrong, compared, alone


def _differences(address, full, small, ignored):
    """The 8-byte words that differ, neighbours merged."""
    found = []
    begin = None
    words = len(full) // 8
    a = struct.unpack_from(f"<{words}Q", full)
    b = struct.unpack_from(f"<{words}Q", small)
    for i in range(words + 1):
        bad = (
            i < words
            and a[i] != b[i]
            and not _marker(small[8 * i : 8 * i + 8])
            and not any(low <= address + 8 * i < high for low, high in ignored)
        )
        if bad and begin is None:
            begin = i
        if not bad and begin is not None:
            found.append(
                (address + 8 * begin, 8 * (i - begin), full[8 * begin : 8 * i], small[8 * begin : 8 * i])
            )
            begin = None
    return found


def _marker(word):
    """Whether any byte of it is of the marker in its place."""
    return any(a == b for a, b in zip(word, _MARKER))
