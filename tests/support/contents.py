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
    """How many of the words of each needle are in `data`, at any alignment.

    needles: {name: contents}. Returns {name: count} of those that were found.
    """
    names = {word: name for name, needle in needles.items() for word in words(needle)}
    counts = {}
    for offset in range(8):
        whole = (len(data) - offset) // 8 * 8
        view = memoryview(data)[offset : offset + whole].cast("Q")
        for word in names.keys() & set(view):
            counts[names[word]] = counts.get(names[word], 0) + 1
    return counts
