"""Turns the raw figures of a run into Markdown tables."""

import dump_bench
import malloc_bench
import program_bench
from stats import Ratio, geometric_mean, median, quantile
from stopwatch import CONTROL, OURS, STOCK

MIB = 1024 * 1024


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |",
             "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def size_text(count):
    for unit, name in [(1 << 30, "GiB"), (MIB, "MiB"), (1024, "KiB")]:
        if count >= unit:
            return "%.3g %s" % (count / unit, name)
    return "%d B" % count


def _column(samples, name, field):
    return [sample[field] for sample in samples.get(name, [])]


def ratio(samples, name, field):
    """Ratio of `name` to the reference, or None where one of them did not run."""
    ours, reference = _column(samples, name, field), _column(samples, STOCK, field)
    return Ratio(ours, reference) if ours and reference else None


def ratios(section, name, field, skip=()):
    """{row: Ratio} for the rows that have both."""
    found = {row: ratio(samples, name, field)
             for row, samples in section.items() if row not in skip}
    return {row: value for row, value in found.items() if value}


def summary_row(label, section, skip, field):
    cells = [label]
    for name in (OURS, CONTROL, "glibc", "mimalloc", "tcmalloc"):
        found = ratios(section, name, field, skip)
        if not found:
            cells.append("-")
            continue
        worst = max(found, key=lambda row: found[row].middle)
        cells.append("%.3f, worst %.2f (%s)" % (
            geometric_mean(value.middle for value in found.values()),
            found[worst].middle, worst))
    return cells


def summary(raw):
    header = ["against jemalloc", OURS, CONTROL, "glibc", "mimalloc", "tcmalloc"]
    rows = []
    if "malloc" in raw:
        rows.append(summary_row("microbenchmarks, time", raw["malloc"],
                                malloc_bench.ADVERSE, "time"))
        rows.append(summary_row("microbenchmarks, peak memory", raw["malloc"],
                                (), "rss_kib"))
    if "programs" in raw:
        rows.append(summary_row("programs, time", raw["programs"],
                                program_bench.ADVERSE, "time"))
        rows.append(summary_row("programs, peak memory", raw["programs"], (),
                                "rss_kib"))
    return "Geometric mean, and the worst:\n\n" + table(header, rows)


def cost_table(section, first, unit, adverse):
    header = [first, "jemalloc, " + unit, OURS, CONTROL, "glibc", "mimalloc",
              "tcmalloc", "memory, MiB", OURS]
    rows = []
    for row in [r for r in section if r not in adverse] + list(adverse):
        samples = section.get(row)
        if not samples or not _column(samples, STOCK, "time"):
            continue
        middle = median(_column(samples, STOCK, "time"))
        cells = [row + (" *" if row in adverse else ""),
                 "%.1f" % (middle if unit == "ns" else middle / 1000)]
        for name in (OURS, CONTROL, "glibc", "mimalloc", "tcmalloc"):
            value = ratio(samples, name, "time")
            if value is None:
                cells.append("-")
            elif name in (OURS, CONTROL):
                cells.append(str(value))
            else:
                cells.append("%.2f" % value.middle)
        memory = ratio(samples, OURS, "rss_kib")
        cells.append("%.1f" % (median(_column(samples, STOCK, "rss_kib")) / 1024))
        cells.append("%.3f" % memory.middle if memory else "-")
        rows.append(cells)
    return table(header, rows)


def instruction_table(section):
    rows = []
    for workload, counts in section.items():
        ours, stock = counts.get(OURS), counts[STOCK]
        rows.append([workload, "%.1f" % stock,
                     "%.1f" % ours if ours else "-",
                     "%+.1f" % (ours - stock) if ours else "-"])
    return table(["workload", "jemalloc", OURS, "more"], rows)


def program_instruction_table(section):
    rows = [[program, "%.1f" % (counts[STOCK] / 1e6),
             "%.1f" % (counts[OURS] / 1e6) if OURS in counts else "-",
             "%.3f" % (counts[OURS] / counts[STOCK]) if OURS in counts else "-"]
            for program, counts in section.items()]
    return table(["program", "jemalloc, millions", OURS, "ratio"], rows)


def startup_table(samples):
    stock = _column(samples, STOCK, "wall_ms")
    rows = []
    for name in samples:
        walls = _column(samples, name, "wall_ms")
        more = median([a - b for a, b in zip(walls, stock)]) if stock else 0
        rows.append([name, "%.2f" % median(walls), "%+.2f" % more,
                     "%.1f" % (median(_column(samples, name, "rss_kib")) / 1024)])
    return table(["`true` under", "ms", "more than jemalloc", "memory, MiB"], rows)


def _middle(samples, field="dead_ms"):
    return median([sample[field] for sample in samples]) if samples else None


def _cell(value, form="%.1f"):
    return form % value if value is not None else "-"


def _more(samples, without):
    """What a dump takes beyond the end of the process, of one round: the end of one with
    a big heap takes its own time, and that varies more from minute to minute."""
    more = [a["dead_ms"] - b["dead_ms"] for a, b in zip(samples, without)]
    return "%+.1f (%+.1f to %+.1f)" % (median(more), quantile(more, 0.25),
                                       quantile(more, 0.75)) if more else "-"


def _others(cases):
    """Dumpers that somebody else wrote, as far as they are there."""
    return [name for name in ("kernel", "minicoredumper", "gcore")
            if any(case["samples"].get(name) for case in cases)]


def dump_time_table(cases):
    header = ["heap", "threads", "no dump, jemalloc", dump_bench.NO_DUMP_OURS, OURS,
              "more than without a dump", "more than jemalloc", "its core complete"]
    others = _others(cases)
    rows = []
    for case in cases:
        samples = case["samples"]
        none, ours = samples["no dump"], samples.get(OURS, [])
        same = samples.get(dump_bench.NO_DUMP_OURS, [])
        rows.append([
            size_text(case["heap"]), str(case["threads"]), _cell(_middle(none)),
            _cell(_middle(same)), _cell(_middle(ours)), _more(ours, same),
            _more(ours, none), _cell(_middle(ours, "file_ms"))] +
            [_cell(_middle(samples.get(name))) for name in others])
    return table(header + others, rows)


def dump_size_table(cases):
    header = ["heap", "threads", OURS, "kernel's", "its blocks on disk", "gcore's",
              "share of the kernel's", "of its blocks"]
    others = [name for name in _others(cases) if name == "minicoredumper"]
    rows = []
    for case in cases:
        samples = case["samples"]
        ours, kernel = samples.get(OURS), samples.get("kernel")
        cells = [size_text(case["heap"]), str(case["threads"])]
        for group, field in [(ours, "apparent"), (kernel, "apparent"),
                             (kernel, "disk"), (samples.get("gcore"), "apparent")]:
            cells.append(size_text(_middle(group, field)) if group else "-")
        for field in ("apparent", "disk"):
            cells.append("%.2f %%" % (100 * _middle(ours, field) /
                                      _middle(kernel, field))
                         if ours and kernel else "-")
        cells += [size_text(_middle(samples.get(name), "apparent")) for name in others]
        rows.append(cells)
    return table(header + others, rows)


def live_table(cases):
    rows = [[size_text(case["heap"]), str(case["threads"]), str(len(case["pauses"])),
             "%.1f" % min(case["pauses"]), "%.1f" % median(case["pauses"]),
             "%.1f" % max(case["pauses"])] for case in cases]
    return table(["heap", "threads", "dumps", "shortest", "median", "longest"], rows)


def index_table(benchmarks):
    rows = []
    for entry in benchmarks:
        rate = entry.get("bytes_per_second")
        rows.append([entry["name"].replace("_median", ""),
                     "%.2f ns" % entry["cpu_time"],
                     "%.2f GB/s" % (rate / 1e9) if rate else "-"])
    return table(["index", "each", "rate"], rows)


def markdown(raw):
    machine = raw["machine"]
    parts = ["Command: `%s`\n" % raw["command"],
             "Machine: %(cpus)d processors (%(model)s), %(memory)s of memory, "
             "Linux %(kernel)s, %(system)s; load %(load)s when the run began.\n"
             % machine]
    if "malloc" in raw or "programs" in raw:
        parts.append("\n### In short\n\n" + summary(raw))
    if "malloc" in raw:
        parts.append(
            "\n### malloc workloads\n\nProcessor time of one operation with "
            "jemalloc, then each allocator's multiple of it: median (quartiles) of "
            "%d rounds. * is left out of the mean.\n\n" % raw["rounds"] +
            cost_table(raw["malloc"], "workload", "ns", malloc_bench.ADVERSE))
    if "instructions" in raw:
        parts.append("\n### Instructions of one operation\n\nCounted by callgrind, the "
                     "workload's own loop included.\n\n" +
                     instruction_table(raw["instructions"]))
    if "program_instructions" in raw:
        parts.append("\n### Instructions of programs\n\nThe programs below at a twentieth "
                     "of their size, start and end included, counted by callgrind.\n\n" +
                     program_instruction_table(raw["program_instructions"]))
    if "programs" in raw:
        parts.append(
            "\n### Programs\n\nUser and system time of the process and its "
            "children. * is left out of the mean.\n\n" +
            cost_table(raw["programs"], "program", "ms", program_bench.ADVERSE))
    if raw.get("absent"):
        parts.append("\nNot installed: %s.\n" % ", ".join(raw["absent"]))
    if "startup" in raw:
        parts.append("\n### Start-up\n\n" + startup_table(raw["startup"]))
    if "dump" in raw:
        parts.append(
            "\n### Dump\n\nMilliseconds from the fault, in a worker thread, until the "
            "parent has reaped the process (gcore: how long it runs; the process lives "
            "on). Medians; (quartiles).\n\n" + dump_time_table(raw["dump"]) +
            "\nSizes of the files:\n\n" + dump_size_table(raw["dump"]))
    if "live" in raw:
        parts.append(
            "\n### Live dumps\n\nMilliseconds for which a thread that does nothing but look "
            "at the clock did not run during a live dump; the other threads sleep.\n\n" +
            live_table(raw["live"]))
    if "index" in raw:
        parts.append("\n### Index\n\n" + index_table(raw["index"]))
    return "".join(parts)
