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

SECTIONS = ("malloc", "instructions", "programs", "startup", "dump", "live", "index")


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
    parser.add_argument("--keep", action="store_true", help="with --only: keep the "
                        "other sections of the run whose results are in --out")
    parser.add_argument("--ours", help="the library to measure, instead of "
                        "//:libminicore.so as it was just built")
    parser.add_argument("--docs", metavar="FILE", help="put the tables between the "
                        "markers of this file as well, and the plot beside it")
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


class Bench:
    """One run: what is compared, how often, and with which binaries."""

    def __init__(self, options, tools, directory):
        self.options = options
        self.tools = tools
        self.directory = directory
        self.watch = stopwatch.Stopwatch(tools["measure"])
        self.ours = options.ours or tools["ours"]
        self.allocators = stopwatch.allocators(self.ours)
        if stopwatch.STOCK not in self.allocators:
            sys.exit("bench: libjemalloc2 is not installed: run tools/setup.sh")
        if options.smoke:
            for name in set(self.allocators) - {stopwatch.STOCK, stopwatch.OURS,
                                                stopwatch.SYSTEM}:
                del self.allocators[name]
        default = 1 if options.smoke else 5 if options.quick else 11
        self.rounds = options.rounds or default
        self.scale = 0.001 if options.smoke else 0.4 if options.quick else 1

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)

    def malloc(self, raw):
        raw["malloc"] = malloc_bench.run(
            self.watch, self.tools["malloc_workloads"], self.allocators, self.rounds,
            self.scale, self.say)

    def instructions(self, raw):
        if not self.options.smoke and instruction_bench.available():
            raw["instructions"] = instruction_bench.run(
                self.tools["malloc_workloads"], self.allocators, self.say)
            raw["program_instructions"] = instruction_bench.run_programs(
                self.tools["programs"], self.directory, self.allocators, self.say)

    def programs(self, raw):
        raw["programs"], raw["absent"] = program_bench.run(
            self.watch, self.tools["programs"], self.directory, self.allocators,
            self.rounds, self.scale, self.say)

    def startup(self, raw):
        raw["startup"] = program_bench.run_startup(
            self.watch, self.allocators, self.rounds, 2 if self.options.smoke else 100,
            self.say)

    def dump(self, raw):
        cases = (dump_bench.SMOKE if self.options.smoke else
                 dump_bench.QUICK if self.options.quick else dump_bench.FULL)
        raw["dump"] = dump_bench.run(
            self.watch, self.tools["dump_victim"], self.allocators[stopwatch.STOCK],
            self.ours, self.directory, cases, self.rounds, self.say)

    def live(self, raw):
        cases = (dump_bench.LIVE_SMOKE if self.options.smoke else
                 dump_bench.LIVE_QUICK if self.options.quick else dump_bench.LIVE_FULL)
        raw["live"] = dump_bench.live(self.tools["dump_victim"], self.ours,
                                      self.directory, cases, self.say)

    def index(self, raw):
        self.say("index")
        raw["index"] = index_figures(self.tools["index_bench"], self.options)

    def run(self, folder):
        """Runs the chosen sections, and writes after each what there is so far."""
        raw = {}
        if self.options.keep:
            with open(os.path.join(folder, "results.json")) as file:
                raw = json.load(file)
        raw.update(machine=machine(), rounds=self.rounds,
                   command=" ".join(["bazel run -c opt //tests/bench --"] +
                                    self.options.shown))
        for section in SECTIONS:
            if section in self.options.sections:
                getattr(self, section)(raw)
                write(folder, raw)
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
    if options.only != ",".join(SECTIONS) and not options.keep:
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
            raw = Bench(options, tools, directory).run(folder)
    write(folder, raw)
    print(report.markdown(raw))
    if options.docs:
        put_into(options.docs, report.markdown(raw))
        with open(os.path.splitext(options.docs)[0] + ".svg", "w") as file:
            file.write(plot.svg(raw))
    print("written: %s/{table.md,plot.svg,results.json}" % folder)


def runfiles_tools():
    """Paths of the binaries: bench.sh passes NAME=PATH in BENCH_TOOLS."""
    pairs = (pair.split("=", 1) for pair in os.environ["BENCH_TOOLS"].split(":"))
    return {name: os.path.abspath(path) for name, path in pairs}


if __name__ == "__main__":
    main(sys.argv[1:], runfiles_tools())
