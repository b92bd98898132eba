"""What a target links, as files: so that a guard sees all of it, and cannot forget one."""

def _linked_archives_impl(ctx):
    archives = []
    for dep in ctx.attr.deps:
        for linker_input in dep[CcInfo].linking_context.linker_inputs.to_list():
            for library in linker_input.libraries:
                archive = library.pic_static_library or library.static_library
                if archive:
                    archives.append(archive)
    files = depset(archives)
    return [DefaultInfo(files = files, runfiles = ctx.runfiles(transitive_files = files))]

linked_archives = rule(
    implementation = _linked_archives_impl,
    attrs = {"deps": attr.label_list(providers = [CcInfo])},
)
