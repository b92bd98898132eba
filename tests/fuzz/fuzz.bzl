"""A fuzz target: one library, two mains."""

load("//:minicore.bzl", "COPTS")

def fuzz_target(name, deps = [], copts = COPTS, tags = []):
    """NAME.cc has LLVMFuzzerTestOneInput; corpus/NAME/, if it is there, inputs in files.

    NAME_short runs the corpus and the short leg, with any compiler; NAME is libFuzzer's.
    """
    native.cc_library(
        name = name + "_target",
        srcs = [name + ".cc"],
        copts = copts,
        linkstatic = True,
        deps = [
            ":fuzz_input",
            ":fuzz_target",
        ] + deps,
        alwayslink = True,
    )
    corpus = native.glob(["corpus/%s/*" % name])
    native.cc_test(
        name = name + "_short",
        size = "small",
        timeout = "moderate",  # for the sanitizers
        args = ["$(rootpath %s)" % file for file in corpus],
        data = corpus,
        tags = tags,
        deps = [
            ":%s_target" % name,
            ":short_leg",
        ],
    )
    native.cc_binary(
        name = name,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = [":%s_target" % name],
    )
