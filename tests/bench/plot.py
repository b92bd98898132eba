"""The plot of a run: one SVG, bars only, made by hand."""

import math
from html import escape

import dump_bench
import malloc_bench
import program_bench
from report import ratio, ratios, size_text
from stats import median
from stopwatch import CONTROL, OURS

_LEFT = 190
_WIDTH = 560
_ROW = 20
_OTHERS = {CONTROL: "#888", "glibc": "#c60", "mimalloc": "#06c", "tcmalloc": "#a0a"}


class _Drawing:
    def __init__(self):
        self._parts = []
        self.y = 20

    def text(self, x, y, text, anchor="start", size=12, weight="normal"):
        self._parts.append(
            '<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d" '
            'font-weight="%s">%s</text>' % (x, y, anchor, size, weight, escape(text)))

    def bar(self, x, y, width, height, colour):
        self._parts.append(
            '<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>'
            % (x, y, max(width, 0.5), height, colour))

    def heading(self, text):
        self.y += 16
        self.text(10, self.y, text, size=14, weight="bold")
        self.y += 20

    def finish(self):
        width, height = _LEFT + _WIDTH + 120, self.y + 20
        return ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
                'font-family="sans-serif"><rect width="100%%" height="100%%" '
                'fill="white"/>\n%s\n</svg>\n'
                % (width, height, "\n".join(self._parts)))


def _place(value, low, high):
    return _LEFT + _WIDTH * (min(max(value, low), high) - low) / (high - low)


def _ratio_bars(drawing, title, section, adverse):
    """Bars for ours with its quartiles, ticks for the others; 1 is jemalloc."""
    low, high = 0.5, 2.0
    drawing.heading(title)
    legend = _LEFT
    for name, colour in [(OURS, "#4a8"), *_OTHERS.items()]:
        drawing.bar(legend, drawing.y - 8, 8, 8, colour)
        drawing.text(legend + 12, drawing.y, name, size=11)
        legend += 110
    drawing.y += 10
    top = drawing.y
    for row, samples in section.items():
        y = drawing.y
        label = row + (" *" if row in adverse else "")
        drawing.text(_LEFT - 8, y + 13, label, anchor="end")
        value = ratio(samples, OURS, "time")
        if value:
            start, end = sorted((_place(1, low, high), _place(value.middle, low, high)))
            drawing.bar(start, y + 4, end - start, 11, "#4a8")
            drawing.bar(_place(value.low, low, high), y + 9,
                        _place(value.high, low, high) - _place(value.low, low, high),
                        1.5, "#000")
            drawing.text(_LEFT + _WIDTH + 8, y + 13, "%.2f" % value.middle)
        for name, colour in _OTHERS.items():
            other = ratio(samples, name, "time")
            if other:
                drawing.bar(_place(other.middle, low, high) - 1, y + 2, 2.5, 15, colour)
        drawing.y += _ROW
    for mark in (0.5, 1.0, 1.25, 1.5, 2.0):
        x = _place(mark, low, high)
        drawing.bar(x, top, 0.5, drawing.y - top, "#444" if mark == 1 else "#bbb")
        drawing.text(x, drawing.y + 12, "%g" % mark, anchor="middle", size=10)
    drawing.y += 20


def _dump_bars(drawing, cases):
    colours = {"no dump": "#bbb", dump_bench.NO_DUMP_OURS: "#999", "minicore": "#4a8",
               "kernel": "#c60", "minicoredumper": "#a0a", "gcore": "#06c"}
    drawing.heading("Fault to reaped, milliseconds, logarithmic")
    longest = max(median([s["dead_ms"] for s in samples])
                  for case in cases for samples in case["samples"].values())
    top = math.log10(max(longest, 10))
    for case in cases:
        label = "%s, %d threads" % (size_text(case["heap"]), case["threads"])
        drawing.text(_LEFT - 8, drawing.y + 13, label, anchor="end")
        for name, samples in case["samples"].items():
            value = median([s["dead_ms"] for s in samples])
            length = 0.7 * _WIDTH * max(math.log10(max(value, 1)), 0.01) / top
            drawing.bar(_LEFT, drawing.y + 4, length, 11, colours[name])
            drawing.text(_LEFT + length + 6, drawing.y + 13,
                         "%s %.1f ms, %s on disk" % (name, value, size_text(
                             median([s["disk"] for s in samples]))), size=11)
            drawing.y += 15
        drawing.y += 6


def svg(raw):
    drawing = _Drawing()
    if "malloc" in raw and ratios(raw["malloc"], OURS, "time"):
        _ratio_bars(drawing, "malloc workloads: time against jemalloc", raw["malloc"],
                    malloc_bench.ADVERSE)
    if "programs" in raw and ratios(raw["programs"], OURS, "time"):
        _ratio_bars(drawing, "Programs: processor time against jemalloc",
                    raw["programs"], program_bench.ADVERSE)
    if raw.get("dump"):
        _dump_bars(drawing, raw["dump"])
    return drawing.finish()
