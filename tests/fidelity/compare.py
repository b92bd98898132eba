"""Compares what one debugger says of the full core and of the small one.

Three outcomes for each thing said of the full core: the same is said of the small one;
or something else with a reason in it that a reader can't overlook ("missing"); or
something else without ("wrong"). The last kind is why this test exists: a core that
leaves something out is small, one that lies is worthless. And a fourth, which counts for
nothing: what must not be in a core (stack canaries, values of environment variables) is
elided, and stands there as the marker.
"""

import dataclasses
import difflib
import re

# What gdb, lldb and drgn say instead of a value that they can't read.
_ADMITS = re.compile(
    r"<error|cannot access memory|unavailable|<optimized out>|memory read failed|"
    r"unable to read|read memory from|FaultError|could not find|"
    r"can't be read|not available|<synthetic pointer>|parent failed|"
    r"no value|could not evaluate|could not read|couldn't",
    re.IGNORECASE,
)


MARKER = b"<ELIDED>"
# As text, as a number, as a pointer, as bytes in hexadecimal.
_ELIDED = re.compile(
    "<ELIDED|ELIDED>|" + str(int.from_bytes(MARKER, "little")) + "|3e444544494c453c|" + MARKER.hex()
)


# lldb complains of the victim's own debug information, once, wherever it first reads it.
_NOISE = re.compile(r"error: .*DW_TAG_member")


@dataclasses.dataclass
class Tally:
    equal: int = 0
    missing: int = 0
    wrong: int = 0
    elided: int = 0
    examples: list = dataclasses.field(default_factory=list)

    @property
    def total(self):
        return self.equal + self.missing + self.wrong

    @property
    def share(self):
        return 100.0 * self.equal / self.total if self.total else 100.0

    def add(self, other):
        self.equal += other.equal
        self.missing += other.missing
        self.wrong += other.wrong
        self.elided += other.elided
        self.examples += other.examples

    def count(self, where, full, small):
        if full == small or full == small + "...":
            # lldb's "..." says only that it stopped looking, and where depends on how
            # much it can read at a time.
            self.equal += 1
        elif _ELIDED.search(small):
            self.elided += 1
        elif _ADMITS.search(full) and not _ADMITS.search(small):
            # More than the full core says: its own note or memory is short of something.
            self.equal += 1
        else:
            # Where memory ends in the middle of a text, lldb ends the text there.
            cut = len(small) > 8 and full.startswith(small.rstrip('"'))
            admits = small == "" or cut or _ADMITS.search(small)
            kind = "missing" if admits else "wrong"
            setattr(self, kind, getattr(self, kind) + 1)
            self.examples.append((kind, shorten(where, 200), shorten(full), shorten(small)))


def shorten(text, most=300):
    """The beginning and the end of a long text."""
    return text if len(text) <= most else text[: most // 2] + " [...] " + text[-most // 2 :]


def values(full, small, where):
    """Compares two dictionaries of printed values."""
    tally = Tally()
    for name, value in full.items():
        tally.count(f"{where} {name}", value, small.get(name, ""))
    return tally


def lines(full, small, where):
    """Compares two texts by lines: what of the full core's is in the small one's, in
    the same order."""
    tally = Tally()
    before = [line for line in full.splitlines() if not _NOISE.search(line)]
    after = [line for line in small.splitlines() if not _NOISE.search(line)]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            tally.equal += i_end - i
            continue
        # A line that was replaced is held against its replacement.
        rest = after[j:j_end]
        for offset, line in enumerate(before[i:i_end]):
            tally.count(where, line, rest[offset] if offset < len(rest) else "")
    return tally


_LEAF = re.compile(r'"(?:[^"\\]|\\.)*"|<[^>]*>|[^\s{},=]+')


def leaves(full, small, where):
    """Compares two printed values leaf by leaf: numbers, texts, addresses."""
    tally = Tally()
    if full == small:
        tally.equal = len(_LEAF.findall(full))
        return tally
    before = _LEAF.findall(full)
    after = _LEAF.findall(small)
    admits = bool(_ADMITS.search(small)) or small == ""
    elided = bool(_ELIDED.search(small))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for tag, i, i_end, _, _ in matcher.get_opcodes():
        if tag == "equal":
            tally.equal += i_end - i
        elif elided:
            tally.elided += i_end - i
        elif admits:
            tally.missing += i_end - i
        else:
            tally.wrong += i_end - i
    if tally.total != tally.equal:
        kind = "wrong" if tally.wrong else "missing"
        tally.examples.append((kind, shorten(where, 200), shorten(full), shorten(small)))
    return tally
