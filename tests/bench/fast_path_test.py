"""The fast paths of malloc and free take no more instructions than they did.

callgrind counts what each function of fast_paths.cc calls; nothing is timed, so that the
figures are the same on every machine and under any load. instructions.golden holds them.

    bazel run //tests/bench:fast_path_test            says what it found
    bazel run //tests/bench:fast_path_test -- --write writes the table that it would accept

With the second, and a reason in the commit, goes a change that makes a path longer.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

# Seldom paths (a full cache, jemalloc's events) are part of the averages, and addresses
# decide about some of them.
TOLERANCE = 0.5
OF_LONG_PATHS = 0.01  # of what they are

# Fewer calls than this of one function are set-up.
LEAST_CALLS = 1000


def counted(binary, library, folder):
    """{(row, function): instructions of one call}, from a run under callgrind."""
    out = os.path.join(folder, "callgrind.out")
    result = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out,
         "--compress-strings=no", "--compress-pos=no", binary],
        env=dict(os.environ, LD_PRELOAD=library, MALLOC_CONF=""), timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0 or not os.path.exists(out):
        return None, result.stdout
    with open(out) as file:
        return parse(file), ""


def parse(lines):
    totals, row, callee, calls = {}, None, None, 0
    for line in lines:
        line = line.rstrip("\n")
        if line.startswith("fn="):
            name = line[3:]
            row = name[4:] if name.startswith("row_") else None
        elif row is None:
            continue
        elif line.startswith("cfn="):
            callee = line[4:].split("(")[0].strip().replace(" ", "-")
        elif line.startswith("calls="):
            calls = int(re.match(r"calls=(\d+)", line).group(1))
        elif calls:
            # The line after a call: where from, and what it cost with all that it called.
            count, cost = totals.get((row, callee), (0, 0))
            totals[row, callee] = (count + calls, cost + int(line.split()[1]))
            calls = 0
    return {key: cost / count for key, (count, cost) in totals.items()
            if count >= LEAST_CALLS}


def table(found):
    return "".join("%-8s %-16s %8.1f\n" % (row, function, instructions)
                   for (row, function), instructions in sorted(found.items()))


def read_table(path):
    golden = {}
    with open(path) as file:
        for line in file:
            if not line.startswith("#"):
                row, rest = line.split(None, 1)
                function, instructions = rest.rsplit(None, 1)
                golden[row, function] = float(instructions)
    return golden


def complaints(found, golden):
    """What is wrong, one sentence each."""
    wrong = []
    for key in sorted(set(found) | set(golden)):
        name = "%s in row %s" % (key[1], key[0])
        if key not in golden:
            wrong.append(name + " is not in the table")
        elif key not in found:
            wrong.append(name + " was not counted")
        elif found[key] > golden[key] + max(TOLERANCE, OF_LONG_PATHS * golden[key]):
            wrong.append("%s takes %.1f instructions instead of %.1f"
                         % (name, found[key], golden[key]))
    return wrong


def main(binary, library, golden_path, arguments):
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: run tools/setup.sh")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")) as folder:
        found, errors = counted(binary, library, folder)
    if found is None:
        # Kernels and processors that valgrind does not know, seccomp filters that it
        # needs more than: nothing that says anything of malloc.
        print("SKIPPED: valgrind does not run here: " + errors[-400:])
        return
    if arguments == ["--write"]:
        with open(golden_path) as file:
            head = [line for line in file if line.startswith("#")]
        target = os.path.join(os.environ["BUILD_WORKSPACE_DIRECTORY"], "tests", "bench",
                              "instructions.golden")
        with open(target, "w") as file:
            file.write("".join(head) + table(found))
        return
    golden = read_table(golden_path)
    print(table(found), end="")
    # The guard itself: a table that asks for less than can be is noticed.
    if not complaints(found, {key: value * 0.98 - 1 for key, value in golden.items()}):
        sys.exit("FAILED: a path that became longer would not be noticed")
    wrong = complaints(found, golden)
    if wrong:
        sys.exit("FAILED: %s\nIf that is the price of something, put it into the table "
                 "(--write) and say so." % "\n        ".join(wrong))
    print("PASSED")


if __name__ == "__main__":
    main(*(os.path.abspath(path) for path in sys.argv[1:4]), sys.argv[4:])
