"""Inside drgn: threads, backtraces, locals, and the words on top of each stack."""

_FRAMES = 400
_FRAMES_WITH_LOCALS = 12
_THREADS_WITH_LOCALS = 16


def locals_of(frame):
    try:
        names = frame.locals()
    except Exception as error:  # drgn reports what it can't decode by many types
        print(type(error).__name__)
        return
    for name in names:
        try:
            print(name, "=", frame[name].format_(dereference=False))
        except Exception as error:
            print(name, type(error).__name__)


print("@@ crashed thread")
print(prog.crashed_thread().tid)  # noqa: F821: drgn's own global
print("@@ language and platform")
print(prog.platform)  # noqa: F821
threads = sorted(prog.threads(), key=lambda thread: thread.tid)  # noqa: F821
crashed = prog.crashed_thread().tid  # noqa: F821
threads.sort(key=lambda thread: thread.tid != crashed)
for index, thread in enumerate(threads):
    print(f"@@ backtrace of thread {thread.tid}")
    trace = prog.stack_trace(thread.tid)  # noqa: F821
    for frame in list(trace)[:_FRAMES]:
        print(frame)
        try:
            print(hex(frame.pc), hex(frame.register("rsp")))
        except LookupError:
            print("no pc")
    if index < _THREADS_WITH_LOCALS:
        print(f"@@ thread {thread.tid} variables")
        for frame in list(trace)[:_FRAMES_WITH_LOCALS]:
            locals_of(frame)
        if len(trace):
            stack = trace[0].register("rsp")
            for at in range(stack, stack + 256, 8):
                print(prog.read(at, 8).hex())  # noqa: F821
