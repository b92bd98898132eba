"""Reads ELF cores: just notes and segments, and shares no code with minicore."""

import dataclasses
import mmap
import struct

PT_LOAD = 1
PT_NOTE = 4
NT_PRSTATUS = 1
NT_FILE = 0x46494C45


@dataclasses.dataclass(frozen=True)
class Segment:
    kind: int
    flags: int
    offset: int
    address: int
    file_bytes: int
    memory_bytes: int


@dataclasses.dataclass(frozen=True)
class Note:
    owner: bytes
    type: int
    data: bytes
    offset: int  # of `data` in the file


def segments(path):
    with open(path, "rb") as file:
        header = file.read(64)
        (table,) = struct.unpack_from("<Q", header, 32)
        (count,) = struct.unpack_from("<H", header, 56)
        file.seek(table)
        rows = file.read(56 * count)
    result = []
    for at in range(0, len(rows) - 55, 56):
        kind, flags, offset, address, _, file_bytes, memory_bytes, _ = struct.unpack_from(
            "<IIQQQQQQ", rows, at
        )
        result.append(Segment(kind, flags, offset, address, file_bytes, memory_bytes))
    return result


def notes(path):
    result = []
    with open(path, "rb") as file:
        for segment in segments(path):
            if segment.kind != PT_NOTE:
                continue
            file.seek(segment.offset)
            data = file.read(segment.file_bytes)
            at = 0
            while at + 12 <= len(data):
                name_size, size, kind = struct.unpack_from("<III", data, at)
                name = data[at + 12 : at + 12 + name_size].rstrip(b"\0")
                begin = at + 12 + (name_size + 3) // 4 * 4
                result.append(
                    Note(name, kind, data[begin : begin + size], segment.offset + begin)
                )
                at = begin + (size + 3) // 4 * 4
    return result


def thread_ids(path):
    """Of the threads, the crashed one first."""
    return [
        struct.unpack_from("<i", note.data, 32)[0]  # elf_prstatus.pr_pid
        for note in notes(path)
        if note.owner == b"CORE" and note.type == NT_PRSTATUS
    ]


def files(path):
    """The mapped files: (begin, end, name)."""
    for note in notes(path):
        if note.type != NT_FILE:
            continue
        count, _ = struct.unpack_from("<QQ", note.data)
        names = note.data[16 + 24 * count :].split(b"\0")
        for i in range(count):
            begin, end, _ = struct.unpack_from("<3Q", note.data, 16 + 24 * i)
            yield begin, end, names[i].decode(errors="replace")


def holes(path):
    """Memory that the kernel has left out of its core (guard areas, MADV_DONTDUMP), for
    which it writes program headers without bytes: debuggers then read zeros, and that is
    no truth to be held against. Mapped files are read from the file."""
    backed = [(begin, end) for begin, end, _ in files(path)]
    return [
        (segment.address, segment.address + segment.memory_bytes)
        for segment in segments(path)
        if segment.kind == PT_LOAD
        and segment.file_bytes == 0
        and not any(begin <= segment.address < end for begin, end in backed)
    ]


class Memory:
    """The memory in a core."""

    def __init__(self, path):
        self._file = open(path, "rb")
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self.loads = sorted(
            (segment for segment in segments(path) if segment.kind == PT_LOAD),
            key=lambda segment: segment.address,
        )

    def read(self, address, size):
        """As many bytes as are in the file from `address` on, at most `size`."""
        result = b""
        while size > 0:
            segment = self._find(address)
            if segment is None:
                break
            skip = address - segment.address
            part = min(size, segment.file_bytes - skip)
            result += self._map[segment.offset + skip : segment.offset + skip + part]
            address += part
            size -= part
        return result

    def _find(self, address):
        low, high = 0, len(self.loads)
        while low < high:
            middle = (low + high) // 2
            if self.loads[middle].address <= address:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return None
        segment = self.loads[low - 1]
        return segment if address < segment.address + segment.file_bytes else None
