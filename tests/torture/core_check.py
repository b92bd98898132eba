"""Reads an ELF core without any code of ours or of anybody else's, and says what is wrong.

What every reader leans on: headers and segments within the file, segments sorted and apart,
notes that can be walked, the crashed thread first, its registers and stack.
"""

import dataclasses
import pathlib
import struct

_ELF = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")
_PT_LOAD, _PT_NOTE = 1, 4
_NT_PRSTATUS, _NT_SIGINFO = 1, 0x53494749
_RSP, _RIP = 19, 16  # struct user_regs_struct, in words
_REGISTERS_AT = 112  # in struct elf_prstatus
_PID_AT = 32
_CURSIG_AT = 12


@dataclasses.dataclass(frozen=True)
class Segment:
    address: int
    memory_bytes: int
    file_bytes: int
    offset: int

    @property
    def end(self):
        return self.address + self.memory_bytes


@dataclasses.dataclass(frozen=True)
class Thread:
    tid: int
    signal: int
    stack_pointer: int
    program_counter: int


class Core:
    def __init__(self, path):
        """Raises AssertionError with a sentence if `path` is no well-formed core."""
        self._data = pathlib.Path(path).read_bytes()
        self.segments = []
        self.threads = []
        self.siginfo = None
        self._read_headers()
        self._check_segments()
        assert self.threads, "there is no PRSTATUS note"
        tids = [thread.tid for thread in self.threads]
        assert len(set(tids)) == len(tids), "a thread is there twice"

    @property
    def crashed(self):
        return self.threads[0]

    @property
    def signal(self):
        """The signal as siginfo has it."""
        return struct.unpack_from("<i", self.siginfo)[0]

    def _unpack(self, layout, offset, what):
        end = offset + layout.size
        assert end <= len(self._data), f"{what} ends at {end:#x}, the file at {len(self._data):#x}"
        return layout.unpack_from(self._data, offset)

    def _read_headers(self):
        header = self._unpack(_ELF, 0, "the ELF header")
        ident, kind, machine, segments_at, count = (
            header[0], header[1], header[2], header[5], header[10],
        )  # fmt: skip
        assert ident[:7] == b"\x7fELF\x02\x01\x01", "no ELF file of 64 bits"
        assert (kind, machine) == (4, 62), "no core of x86-64"
        for i in range(count):
            kind, _, offset, address, _, in_file, in_memory, _ = self._unpack(
                _SEGMENT, segments_at + i * _SEGMENT.size, f"program header {i}"
            )
            assert offset + in_file <= len(self._data), f"segment {i} ends behind the file"
            if kind == _PT_LOAD:
                self.segments.append(Segment(address, in_memory, in_file, offset))
            elif kind == _PT_NOTE:
                self._read_notes(offset, offset + in_file)

    def _read_notes(self, at, end):
        while at < end:
            name_bytes, bytes_, kind = self._unpack(_NOTE, at, "a note")
            at += _NOTE.size
            name = self._data[at : at + name_bytes].rstrip(b"\0")
            at += (name_bytes + 3) & ~3
            assert at + bytes_ <= end, "a note ends behind its segment"
            if name == b"CORE":
                self._read_note(kind, self._data[at : at + bytes_])
            at += (bytes_ + 3) & ~3

    def _read_note(self, kind, contents):
        if kind == _NT_PRSTATUS:
            registers = struct.unpack_from("<27Q", contents, _REGISTERS_AT)
            self.threads.append(
                Thread(
                    struct.unpack_from("<i", contents, _PID_AT)[0],
                    struct.unpack_from("<h", contents, _CURSIG_AT)[0],
                    registers[_RSP],
                    registers[_RIP],
                )
            )
        elif kind == _NT_SIGINFO:
            assert len(self.threads) == 1, "SIGINFO does not belong to the first thread"
            self.siginfo = contents

    def _check_segments(self):
        end = 0
        for segment in self.segments:
            assert segment.address >= end, f"segments overlap at {segment.address:#x}"
            assert segment.file_bytes <= segment.memory_bytes, "more in the file than in memory"
            end = segment.end

    def read(self, address, size):
        """Memory, or None if any of it is not in the file."""
        pieces = []
        for segment in self.segments:
            if address >= segment.address + segment.file_bytes or address < segment.address:
                continue
            start = segment.offset + address - segment.address
            piece = self._data[start : min(start + size, segment.offset + segment.file_bytes)]
            pieces.append(piece)
            address += len(piece)
            size -= len(piece)
            if size == 0:
                return b"".join(pieces)
        return None
