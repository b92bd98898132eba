"""Compiler flags, in one place: no target spells them by itself."""

# Our own code, everywhere.
C_COPTS = [
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wno-sign-conversion",
    "-Wshadow",
    "-Wvla",
    "-Werror",
]

# The standard is named here and not only in .bazelrc: a program of another workspace that
# links minicore does not read our .bazelrc, and Debian's Bazel says -std=c++0x by itself.
COPTS = C_COPTS + ["-std=c++17"]

# The malloc path: hidden, optimised in every compilation mode (a fastbuild malloc
# would be measured, and hated), and never folded into calls of itself.
ALLOC_COPTS = COPTS + [
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-plt",
    "-fno-builtin-malloc",
    "-fno-builtin-calloc",
    "-fno-builtin-realloc",
    "-fno-builtin-free",
    "-fno-exceptions",
    "-fno-rtti",
    "-ftls-model=initial-exec",
    "-fno-stack-protector",
]

# What runs in the signal handler. Thread-safe statics stay on: a guarded static shows
# up as __cxa_guard_acquire in the symbol test. No stack protector: its canary and its
# __stack_chk_fail belong to the process that has just crashed.
HANDLER_COPTS = ALLOC_COPTS
