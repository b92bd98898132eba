"""The contents that tests/e2e/heap.h fills memory with, from the same seeds."""

import functools
import struct

_MASK = (1 << 64) - 1


@functools.lru_cache(maxsize=64)
def of(seed, size):
    """`size` bytes whose 64-bit words occur nowhere else."""
    words = []
    for index in range((size + 7) // 8):
        z = ((seed << 32) + (index + 1) * 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        words.append(z ^ (z >> 31))
    return struct.pack(f"<{len(words)}Q", *words)[:size]


def words(contents):
    """Each whole word of `contents`: a copy at any alignment holds some of them."""
    return {value for (value,) in struct.iter_unpack("<Q", contents[: len(contents) // 8 * 8])}


def found(data, needles):
    """Where 16 or more consecutive bytes of a needle are in `data`, at any alignment.

    needles: {name: contents}. Returns {name: [(offset in data, length), ...]}.
    """
    words_of = {}
    for name, needle in needles.items():
        for word in words(needle):
            words_of[word] = name
    runs = {}
    for offset in range(8):
        whole = (len(data) - offset) // 8 * 8
        view = memoryview(data)[offset : offset + whole].cast("Q")
        # Any 16 bytes of a needle hold one of its whole words.
        for word in words_of.keys() & set(view):
            name = words_of[word]
            found_so_far = runs.setdefault(name, {})
            _add_runs(struct.pack("<Q", word), data, needles[name], found_so_far)
    return {name: sorted(where.items()) for name, where in runs.items() if where}


def _add_runs(word, data, needle, runs):
    """Adds to `runs` ({offset: length}) the stretches of `needle` that hold `word`."""
    in_needle = needle.find(word)
    at = -1
    while (at := data.find(word, at + 1)) >= 0:
        if any(begin <= at < begin + length for begin, length in runs.items()):
            continue
        before = 0
        while (
            before < min(at, in_needle)
            and data[at - before - 1] == needle[in_needle - before - 1]
        ):
            before += 1
        behind = 8
        while (
            at + behind < len(data)
            and in_needle + behind < len(needle)
            and data[at + behind] == needle[in_needle + behind]
        ):
            behind += 1
        if before + behind >= min(16, len(needle)):
            runs[at - before] = before + behind
