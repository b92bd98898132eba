"""How the victims are built."""

def victim(name, src, copts = [], linkopts = [], linked = False, features = []):
    """A program that crashes. The optimisation is its own, in every compilation mode.

    Args:
      name: of the target.
      src: the one source file, below victims/.
      copts: for the victim, after the defaults.
      linkopts: likewise.
      features: of the toolchain.
      linked: minicore is linked in; otherwise the harness preloads it.
    """
    c_language = src.endswith(".c")
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = ["victims/" + src, "victims/crash.h"] +
               (["victims/plugin.h"] if src in ("threads.cc", "modules.cc") else []) +
               (["victims/with_minicore.cc"] if linked else []),
        copts = ([] if c_language else ["-std=c++20"]) + [
            "-Wall",
            "-g",
            "-U_FORTIFY_SOURCE",
            "-UNDEBUG",
        ] + (copts or ["-O0"]),
        linkopts = ["-ldl", "-lpthread"] + linkopts,
        features = features,
        linkstatic = True,
        deps = ["//:minicore"] if linked else [],
    )
