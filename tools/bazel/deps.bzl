"""What minicore needs from outside its tree: Debian's packages, and nothing else.

A workspace that links minicore calls minicore_deps() once. Debian's Bazel 4.2.3 would
otherwise download rules_cc and remote_coverage_tools, and Debian's own
bazel-rules-cc 0.0.4 is too new for it.
"""

_RULES_CC_DEFS = """
cc_binary = native.cc_binary
cc_import = native.cc_import
cc_library = native.cc_library
cc_proto_library = native.cc_proto_library
cc_test = native.cc_test
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
objc_library = native.objc_library
"""

def _rules_cc_impl(ctx):
    ctx.file("BUILD", "")
    ctx.file("cc/BUILD", "exports_files(['defs.bzl'])")
    ctx.file("cc/defs.bzl", _RULES_CC_DEFS)

_native_rules_cc = repository_rule(
    implementation = _rules_cc_impl,
    doc = "rules_cc as a name for the rules that are built into Bazel.",
)

def _no_coverage_impl(ctx):
    ctx.file("BUILD", """
filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])
""")

_no_coverage_tools = repository_rule(
    implementation = _no_coverage_impl,
    doc = "Stands for 'no coverage report': the real one is a download.",
)

def _system_impl(ctx):
    if not ctx.path("/usr/include/jemalloc/jemalloc.h").exists:
        fail("libjemalloc-dev is not installed: run tools/setup.sh")
    ctx.symlink("/usr/include", "include")
    ctx.symlink("/usr/lib/x86_64-linux-gnu", "lib")
    ctx.file("BUILD", ctx.read(ctx.path(Label("//tools/bazel:debian.BUILD"))))

_debian_libraries = repository_rule(
    implementation = _system_impl,
    local = True,
    doc = "The -dev packages that tools/setup.sh installs.",
)

def minicore_deps():
    existing = native.existing_rules()
    if "rules_cc" not in existing:
        _native_rules_cc(name = "rules_cc")
    if "remote_coverage_tools" not in existing:
        _no_coverage_tools(name = "remote_coverage_tools")
    for name in ["java", "proto"]:
        if "rules_" + name not in existing:
            native.local_repository(
                name = "rules_" + name,
                path = "/usr/share/bazel/rules/" + name,
            )
    _debian_libraries(name = "minicore_debian")
