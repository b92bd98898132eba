"""How the bench's children are built and its tests are run."""

load("//:minicore.bzl", "COPTS")

_SOURCES = [
    "allocator_scenarios.cc",
    "corruption_scenarios.cc",
    "crash.cc",
    "crash.h",
    "exhaustion_scenarios.cc",
    "inside.cc",
    "inside.h",
    "live.cc",
    "live.h",
    "live_scenarios.cc",
    "places.cc",
    "places.h",
    "places_scenarios.cc",
    "planted_scenarios.cc",
    "processes_scenarios.cc",
    "registers_scenarios.cc",
    "sandbox_scenarios.cc",
    "scenarios.h",
    "storm_layout.h",
    "storm_scenarios.cc",
    "threads_scenarios.cc",
    "torture_child.cc",
    # Facts, threads and tags are those of the end-to-end victims.
    "//tests/e2e:facts.cc",
    "//tests/e2e:facts.h",
    "//tests/e2e:jemalloc_api.cc",
    "//tests/e2e:jemalloc_api.h",
    "//tests/e2e:tags.cc",
    "//tests/e2e:tags.h",
    "//tests/e2e:threads.cc",
    "//tests/e2e:threads.h",
]

def torture_child(name, minicore):
    """A build of torture_child.cc, with symbols in every mode."""
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = _SOURCES,
        copts = COPTS + ["-g", "-O1", "-fno-optimize-sibling-calls", "-fno-inline"],
        # For the preload: its calls to pthread_mutex_trylock() come to ours.
        linkopts = ["-ldl", "-lpthread", "-lrt", "-lanl", "-Wl,--export-dynamic-symbol=pthread_mutex_trylock"],
        linkstatic = True,
        local_defines = [] if minicore else ["VICTIM_WITHOUT_MINICORE"],
        deps = [
            "//tests/support:filter_call",
            "@minicore_debian//:jemalloc_headers",
        ] + ([
            "//:minicore",
            "//alloc:index_view",
            "//alloc:state",
            "//dump/handler:pipeline",
        ] if minicore else []),
    )

def torture_library(name, defines = []):
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = ["library.cc"],
        copts = COPTS + ["-g", "-O1"],
        linkshared = True,
        local_defines = defines,
    )

def torture_test(name, size = "medium"):
    """Runs a module of Python's unittest next to this file."""
    native.sh_test(
        name = name,
        size = size,
        srcs = ["//tests/support:run_unittest.sh"],
        args = ["tests.torture." + name],
        data = [name + ".py"] + HARNESS,
        tags = ["own_malloc"],
    )

HARNESS = [
    "core_check.py",
    "torture.py",
    ":early_child",
    ":libtorture_crashing.so",
    ":libtorture_early.so",
    ":libtorture_idle.so",
    ":storm_check",
    ":torture_child",
    ":torture_child_plain",
    "//:libminicore.so",
    "//tests/support:harness",
    "//tools:minicore",
]
