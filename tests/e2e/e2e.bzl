"""How the victims are built and the tests are run."""

load("//:minicore.bzl", "COPTS")

_SOURCES = [
    "crash_child.cc",
    "crashes.cc",
    "exhaustion.cc",
    "facts.cc",
    "facts.h",
    "handlers.cc",
    "heap.cc",
    "heap.h",
    "heap_crashes.cc",
    "jemalloc_api.cc",
    "jemalloc_api.h",
    "objects.cc",
    "plugin.h",
    "registers.S",
    "registers.cc",
    "registers.h",
    "scenarios.h",
    "secrets.cc",
    "service.cc",
    "tags.cc",
    "tags.h",
    "threads.cc",
    "threads.h",
]

def victim(name, optimisation, minicore):
    """A build of crash_child.cc. Assertions stay on and symbols stay in, in every mode."""
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = _SOURCES,
        # siginterrupt() is deprecated.
        copts = COPTS + [
            "-g",
            optimisation,
            "-UNDEBUG",
            "-U_FORTIFY_SOURCE",
            "-Wno-deprecated-declarations",
        ],
        linkopts = ["-ldl", "-lpthread"],
        linkstatic = True,
        local_defines = [] if minicore else ["VICTIM_WITHOUT_MINICORE"],
        deps = [
            "//tests/support:filter_call",
            "@minicore_debian//:jemalloc_headers",
        ] + (["//:minicore"] if minicore else []),
    )

def e2e_test(name, module = None, dumper = "minicore"):
    """Runs a module of Python's unittest next to this file: with Debian's Python, in a
    sh_test, since py_test wants a toolchain that Debian's Bazel does not have."""
    module = module or name
    native.sh_test(
        name = name,
        size = "medium",
        srcs = ["//tests/support:run_unittest.sh"],
        args = ["tests.e2e." + module, dumper],
        data = [
            module + ".py",
            ":crash_child",
            ":crash_child_o2",
            ":crash_child_plain",
            ":crash_child_plain_o2",
            ":libvictim_plugin.so",
            "//:libminicore.so",
            "//tests/support:harness",
            "//tools:minicore",
        ],
        tags = ["own_malloc"],
    )
