"""All benchmarks, in one run: what minicore costs a healthy process and a crashed one.

Writes results.json (every sample), table.md and plot.svg into a folder. Times are
compared within one run only, the contestants taking turns.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile

import dump_bench
import instruction_bench
import malloc_bench
import plot
import program_bench
import report
import stopwatch

SECTIONS = ("malloc", "instructions", "programs", "startup", "dump", "index")


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file
                  if line.startswith("model name")]
    with open("/etc/os-release") as file:
        release = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "model": models[0] if models else "unknown",
        "memory": report.size_text(memory),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "load": "%.2f" % os.getloadavg()[0],
    }


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="bazel run -c opt //tests/bench --", description=__doc__)
    parser.add_argument("--out", help="folder for the results (default: a new one)")
    parser.add_argument("--quick", action="store_true",
                        help="fewer rounds and cases: minutes instead of an hour")
    parser.add_argument("--smoke", action="store_true",
                        help="tiny: shows that everything runs; figures mean nothing")
    parser.add_argument("--rounds", type=int, help="rounds of everything")
    parser.add_argument("--only", default=",".join(SECTIONS),
                        help="sections, of " + ",".join(SECTIONS))
    parser.add_argument("--ours", help="the library to measure, instead of "
                        "//:libminicore.so as it was just built")
    parser.add_argument("--docs", metavar="FILE", help="put the tables between the "
                        "markers of this file as well")
    parser.add_argument("--render", metavar="RESULTS_JSON",
                        help="no run: write table and plot from an earlier one")
    parsed = parser.parse_args(arguments)
    parsed.sections = parsed.only.split(",")
    for section in parsed.sections:
        if section not in SECTIONS:
            parser.error("no such section: " + section)
    return parsed


def index_figures(binary, options):
    seconds = "0.01" if options.smoke else "0.2" if options.quick else "0.5"
    output = subprocess.run(
        [binary, "--benchmark_format=json", "--benchmark_min_time=" + seconds,
         "--benchmark_repetitions=%d" % (1 if options.smoke else 5)],
        check=True, capture_output=True, text=True).stdout
    found = json.loads(output)["benchmarks"]
    medians = [entry for entry in found if entry.get("aggregate_name") == "median"]
    return medians or found


def measure(options, tools, directory):
    """Runs the chosen sections; returns the raw figures."""
    def say(text):
        print(text, file=sys.stderr, flush=True)

    watch = stopwatch.Stopwatch(tools["measure"])
    ours = options.ours or tools["ours"]
    allocators = stopwatch.allocators(ours)
    if stopwatch.STOCK not in allocators:
        sys.exit("bench: libjemalloc2 is not installed: run tools/setup.sh")
    if options.smoke:
        allocators = {name: library for name, library in allocators.items()
                      if name in (stopwatch.STOCK, stopwatch.OURS, stopwatch.SYSTEM)}
    rounds = options.rounds or (1 if options.smoke else 5 if options.quick else 11)
    scale = 0.001 if options.smoke else 0.4 if options.quick else 1
    raw = {"machine": machine(), "rounds": rounds,
           "command": "bazel run -c opt //tests/bench" + (
               " -- " + " ".join(options.shown) if options.shown else "")}
    if "malloc" in options.sections:
        raw["malloc"] = malloc_bench.run(watch, tools["malloc_workloads"], allocators,
                                         rounds, scale, say)
    if ("instructions" in options.sections and not options.smoke and
            instruction_bench.available()):
        raw["instructions"] = instruction_bench.run(tools["malloc_workloads"],
                                                    allocators, say)
    if "programs" in options.sections:
        raw["programs"], raw["absent"] = program_bench.run(
            watch, tools["programs"], directory, allocators, rounds, scale, say)
    if "startup" in options.sections:
        raw["startup"] = program_bench.run_startup(
            watch, allocators, rounds, 2 if options.smoke else 100, say)
    if "dump" in options.sections:
        cases = (dump_bench.SMOKE if options.smoke else
                 dump_bench.QUICK if options.quick else dump_bench.FULL)
        raw["dump"] = dump_bench.run(watch, tools["dump_victim"],
                                     allocators[stopwatch.STOCK], ours, directory,
                                     cases, rounds, say)
    if "index" in options.sections:
        say("index")
        raw["index"] = index_figures(tools["index_bench"], options)
    return raw


def write(folder, raw):
    for name, text in [("results.json", json.dumps(raw, indent=1)),
                       ("table.md", report.markdown(raw)), ("plot.svg", plot.svg(raw))]:
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)


def put_into(path, text):
    """Replaces what stands between the two markers of a document."""
    begin, end = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
    with open(path) as file:
        before, rest = file.read().split(begin)
    with open(path, "w") as file:
        file.write(before + begin + text + end + rest.split(end)[1])


def main(arguments, tools):
    options = parse(arguments)
    options.shown = [name for name in ("--quick", "--smoke")
                     if getattr(options, name[2:])]
    if options.only != ",".join(SECTIONS):
        options.shown.append("--only=" + options.only)
    # `bazel run` starts programs in a folder of its own.
    os.chdir(os.environ.get("BUILD_WORKING_DIRECTORY", "."))
    folder = options.out or tempfile.mkdtemp(prefix="minicore-bench-")
    os.makedirs(folder, exist_ok=True)
    if options.render:
        with open(options.render) as file:
            raw = json.load(file)
    else:
        with tempfile.TemporaryDirectory(prefix="minicore-bench-work-") as directory:
            raw = measure(options, tools, directory)
    write(folder, raw)
    print(report.markdown(raw))
    if options.docs:
        put_into(options.docs, report.markdown(raw))
    print("written: %s/{table.md,plot.svg,results.json}" % folder)


def runfiles_tools():
    """Paths of the binaries: bench.sh passes NAME=PATH in BENCH_TOOLS."""
    pairs = (pair.split("=", 1) for pair in os.environ["BENCH_TOOLS"].split(":"))
    return {name: os.path.abspath(path) for name, path in pairs}


if __name__ == "__main__":
    main(sys.argv[1:], runfiles_tools())
