"""Crashes in the places where programs are neither here nor there: handlers, constructors,
destructors, the dynamic linker, other people's stacks."""

import signal

from tests.torture import torture

_RESTORER = "__restore_rt"
_STANDING = {"bystander0": "victim::Park", "bystander1": "victim::Park"}


class Places(torture.Torture):
    def each_place(self, scenario, *callers, **how):
        for place in ("main", "worker"):
            with self.subTest(place=place):
                below = "main" if place == "main" else "victim::Run"
                self.survive(
                    scenario, place, callers=[*callers, below], unwound=_STANDING, **how
                )

    def test_in_a_signal_handler(self):
        self.each_place("handler", "torture::CrashInHandler", _RESTORER, "raise")

    def test_in_a_signal_handler_on_the_programs_alternate_stack(self):
        self.each_place("handler_alternate", "torture::CrashInHandler", _RESTORER, "raise")

    def test_in_a_handler_in_a_handler(self):
        self.each_place(
            "handler_nested", "torture::CrashInHandler", _RESTORER, "torture::OuterHandler",
            _RESTORER, in_gdb=False,
        )  # fmt: skip

    def test_in_a_handler_in_a_handler_on_the_programs_alternate_stack(self):
        self.each_place(
            "handler_nested_alternate", "torture::CrashInHandler", _RESTORER,
            "torture::OuterHandler", _RESTORER,
        )  # fmt: skip

    def test_in_a_handler_whose_mask_is_full(self):
        self.each_place("handler_all_blocked", "torture::CrashInHandler", _RESTORER)

    def test_where_the_kernel_runs_no_handler(self):
        # It has the signal blocked, by ways that libc does not show us: RELIABILITY.md.
        for scenario in ("handler_of_same", "handler_left", "coroutine_blocks"):
            control = self.run_child(torture.PLAIN, scenario)
            for build in torture.BUILDS:
                with self.subTest(scenario=scenario, build=build.name):
                    child = self.run_child(build, scenario)
                    self.assertEqual(child.signal, signal.SIGSEGV)
                    self.assertEqual(child.status, control.status)
                    self.assertEqual(child.files(), [])

    def test_in_a_handler_that_runs_in_a_wait_with_a_full_mask(self):
        for call in ("sigsuspend", "pselect", "ppoll", "epoll_pwait", "epoll_pwait2"):
            with self.subTest(call=call):
                self.survive(
                    "handler_of_wait", "worker", call,
                    callers=["torture::CrashInHandler", _RESTORER, call, "victim::Run"],
                    unwound=_STANDING,
                )  # fmt: skip

    def test_in_abort_with_its_signal_ignored(self):
        self.each_abort("abort_ignored")

    def test_in_abort_behind_a_handler_that_returns(self):
        self.each_abort("abort_handled")

    def each_abort(self, scenario):
        self.each_place(
            scenario, "abort", "torture::AbortHere", number=signal.SIGABRT, function=None
        )

    def test_while_another_thread_has_no_room_left_on_its_small_signal_stack(self):
        self.survive("deep_in_small_stack", unwound={"deep": "torture::StandDeepInHandler"})

    def test_abort_with_no_room_left_on_the_programs_small_signal_stack(self):
        self.each_place(
            "aborts_deep_in_small_stack", "abort", "torture::AbortDeepInHandler", _RESTORER,
            number=signal.SIGABRT, function=None,
        )  # fmt: skip

    def test_on_the_smallest_signal_stack_that_a_program_can_set(self):
        self.each_place("least_alternate")

    def test_where_the_signal_stack_has_no_room_for_our_handler_the_fault_kills(self):
        for place in ("main", "worker"):
            for build in torture.BUILDS:
                with self.subTest(place=place, build=build.name):
                    child = self.run_child(build, "least_alternate", place, "raw")
                    self.assertEqual(child.signal, signal.SIGSEGV)

    def test_in_an_exit_handler(self):
        self.survive("atexit", callers=["torture::CrashInAtexit", "exit", "main"])

    def test_in_the_destructor_of_a_static_object(self):
        self.survive("static_destructor", callers=["exit", "main"], unwound=_STANDING)

    def test_in_a_static_constructor_before_main(self):
        # Where minicore is linked in, nobody has installed it yet.
        self.survive(
            "before_main", builds=[torture.PRELOADED], crashers=(), function=torture.CRASH,
            callers=["torture::CrashesBeforeMain::CrashesBeforeMain"],
            environment={"TORTURE_BEFORE_MAIN": "1"},
        )  # fmt: skip

    def test_in_the_constructor_of_a_library_that_the_program_is_linked_with(self):
        self.survive_early("crash", function="CrashEarly")

    def test_overflow_of_a_thread_that_such_a_constructor_has_started(self):
        self.survive_early("thread", function="OverflowLate", callers=["OverflowLate"] * 2)

    def survive_early(self, what, **how):
        self.survive(
            builds=[torture.EARLY_PRELOADED], control=torture.EARLY, crashers=(),
            environment={"TORTURE_EARLY": what}, **how,
        )  # fmt: skip

    def test_in_the_destructor_of_a_thread_local(self):
        self.survive("thread_local_destructor", callers=["__call_tls_dtors"])

    def test_in_the_destructor_of_a_key(self):
        self.survive("key_destructor", callers=["torture::CrashInKeyDestructor"])

    def test_in_a_late_round_of_key_destructors(self):
        self.survive("late_key_destructor", callers=["torture::CrashInLateKeyDestructor"])

    def test_in_a_function_that_a_timer_runs(self):
        self.survive("timer", callers=["torture::CrashInTimer"], unwound=_STANDING)

    def test_overflow_in_a_function_that_a_timer_runs(self):
        self.survive(
            "timer_overflow", function="torture::OverflowCoroutine",
            callers=["torture::OverflowCoroutine"] * 2, unwound=_STANDING,
        )  # fmt: skip

    def test_in_a_handler_that_prepares_fork(self):
        self.each_place("fork_prepare", "torture::CrashBeforeFork")

    def test_in_a_handler_of_the_parent_after_fork(self):
        self.each_place("fork_parent", "torture::CrashInParentAfterFork")

    def test_in_a_handler_of_the_child_after_fork(self):
        for build in torture.BUILDS:
            with self.subTest(build=build.name):
                child, core, _ = self.survive_in(
                    build, "fork_child", callers=["torture::CrashInChildAfterFork"]
                )
                self.assertEqual(child.fact("child.status"), signal.SIGSEGV)
                self.assertEqual(len(core.threads), 1)

    def test_in_the_constructor_of_a_library_while_another_thread_opens_one(self):
        self.survive(
            "library_constructor", function="CrashInConstructor", callers=["_dl_open", "main"],
            unwound={"opener": "torture::OpenAndClose"},
        )  # fmt: skip
        self.survive(
            "library_constructor", "worker", function="CrashInConstructor", callers=["_dl_open"],
            unwound={"opener": "torture::OpenAndClose"},
        )  # fmt: skip

    def test_while_another_thread_is_anywhere_in_the_dynamic_linker(self):
        for instant in (1, 3, 10):
            self.survive(
                "libraries_opened", str(instant), callers=["main"],
                # Between two instructions of ld.so the list of libraries may be in two
                # minds, and so is `verify`.
                verified=False, control=False,
            )  # fmt: skip

    def test_on_a_coroutines_stack_from_the_heap(self):
        self.each_coroutine("coroutine_heap", in_gdb=True)

    def test_on_a_coroutines_stack_from_mmap(self):
        self.each_coroutine("coroutine_mapped")

    def each_coroutine(self, scenario, **how):
        for place in ("main", "worker"):
            self.survive(
                scenario, place, callers=["torture::CoroutineBody"], unwound=_STANDING, **how
            )

    def test_overflow_of_a_coroutines_stack(self):
        for place in ("main", "worker"):
            self.survive(
                "coroutine_overflow", place, function="torture::OverflowCoroutine",
                callers=["torture::OverflowCoroutine", "torture::OverflowingBody"],
                unwound=_STANDING,
            )  # fmt: skip
