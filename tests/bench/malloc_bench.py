"""//tests/bench:malloc_workloads under each allocator."""

import json
import subprocess

from stopwatch import alternating, check_exit

# Shown apart and not part of the mean: nothing but malloc runs in them, not even a store
# to the memory.
ADVERSE = ("untouched", "untouched x2", "untouched x16")


def run(watch, binary, allocators, rounds, scale, say):
    """Returns {workload: {allocator: [sample of each round]}}."""
    listing = subprocess.run([binary, "--list"], check=True,
                             capture_output=True, text=True)
    workloads = listing.stdout.splitlines()
    samples = {workload: {name: [] for name in allocators}
               for workload in workloads}
    for number in range(rounds):
        say("malloc: round %d of %d" % (number + 1, rounds))
        for workload in workloads:
            for name in alternating(allocators, number):
                results, output = watch.run([binary, workload, str(scale)],
                                            preload=allocators[name])
                check_exit(results[0], workload + " with " + name)
                inner = json.loads(output)
                samples[workload][name].append({
                    "time": inner["cpu_ns"] / inner["ops"],
                    "wall": inner["wall_ns"] / inner["ops"],
                    "rss_kib": results[0]["max_rss_kib"],
                })
    return samples
