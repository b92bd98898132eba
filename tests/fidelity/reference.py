"""Makes of the kernel's core the reference that minicore's is held against.

When the kernel writes its core, the other threads stand in minicore's freeze handler,
which has written its own core already. What they did before lies in their signal frames,
saved there by the kernel. Here each such thread is put back: its registers in the notes
become those of its signal frame. The memory is left as it is. After that the kernel's
core is what it would have been without minicore, and every debugger's output for it can
be compared with no exceptions made.

It is patched in place, and nothing of it comes from minicore's own core.
"""

import struct

from tests.fidelity import elf_core
from tests.fidelity import gdb

_NT_PRSTATUS = 1
_NT_FPREGSET = 2
_NT_X86_XSTATE = 0x202
# struct elf_prstatus: pr_pid at 32, pr_reg at 112.
_PID_OFFSET = 32
_REG_OFFSET = 112

# Signal frame's order (struct sigcontext_64): r8 .. r15, rdi, rsi, rbp, rbx, rdx, rax,
# rcx, rsp, rip, eflags, cs/gs/fs/ss; and the notes' (struct user_regs_struct).
_FRAME = "r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx rsp rip eflags".split()
_NOTE = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags "
    "rsp ss fs_base gs_base ds es fs gs"
).split()
_LEGACY_BYTES = 512
_SOFTWARE_BYTES = slice(464, 512)


def put_threads_back(program, core, scratch):
    """Returns: how many threads stood in the freeze handler."""
    frames, said, _ = gdb.run(
        "reference_probe.py", program, core, {"handlers": ["OnFreezeSignal", "Park", "OnFatalSignal"]},
        scratch,
    )  # fmt: skip
    frames = {int(tid): frame for tid, frame in frames.items()}
    found = 0
    tid = None
    with open(core, "r+b") as file:
        for note in elf_core.notes(core):
            if note.type == _NT_PRSTATUS:
                (tid,) = struct.unpack_from("<i", note.data, _PID_OFFSET)
                if tid in frames:
                    found += 1
                    file.seek(note.offset)
                    file.write(_status(note.data, bytes.fromhex(frames[tid]["gregs"])))
            if tid not in frames:
                continue
            state = bytes.fromhex(frames[tid]["fpregs"])
            if note.type == _NT_FPREGSET and len(state) >= _LEGACY_BYTES:
                file.seek(note.offset)
                file.write(_legacy(state, note.data))
            if note.type == _NT_X86_XSTATE and len(state) >= len(note.data):
                file.seek(note.offset)
                file.write(_legacy(state, note.data) + state[_LEGACY_BYTES : len(note.data)])
    if found != len(frames):
        raise RuntimeError(f"{len(frames)} signal frames for {found} threads:\n{said}")
    return found


def _status(note, gregs):
    values = dict(zip(_FRAME, struct.unpack_from(f"<{len(_FRAME)}Q", gregs)))
    cs, _, _, ss = struct.unpack_from("<4H", gregs, 8 * len(_FRAME))
    values.update(cs=cs, ss=ss, orig_rax=(1 << 64) - 1)
    old = struct.unpack_from(f"<{len(_NOTE)}Q", note, _REG_OFFSET)
    new = [values.get(name, value) for name, value in zip(_NOTE, old)]
    patched = bytearray(note)
    struct.pack_into(f"<{len(_NOTE)}Q", patched, _REG_OFFSET, *new)
    return bytes(patched)


def _legacy(state, note):
    """The legacy area of the signal frame, with the note's software bytes (XCR0)."""
    return (
        state[: _SOFTWARE_BYTES.start]
        + note[_SOFTWARE_BYTES]
        + state[_SOFTWARE_BYTES.stop : _LEGACY_BYTES]
    )
