"""Crashes whose registers are of no use to anybody, the handler included."""

import signal

from tests.torture import torture


# True, and no fault of the core: there is no stack at such a place.
_NO_STACK = ["^The stack pointer of thread [0-9]+, 0x[0-9a-f]+, is not in the core"]


class Registers(torture.Torture):
    def each_place(self, scenario, function, **how):
        """In main and in another thread."""
        for place in ("main", "worker"):
            with self.subTest(place=place):
                self.survive(
                    scenario, place, function=f"torture::{function}",
                    unwound={"bystander0": "victim::Park", "bystander1": "victim::Park"}, **how,
                )  # fmt: skip

    def test_stack_pointer_is_null(self):
        self.each_place("rsp_null", "StackPointerIsNull")

    def test_stack_pointer_is_wild(self):
        self.each_place("rsp_wild", "StackPointerIsWild")

    def test_stack_pointer_is_in_no_mapping(self):
        self.each_place(
            "rsp_unmapped", "StackPointerIsUnmapped",
            verified=_NO_STACK,
        )  # fmt: skip

    def test_stack_pointer_is_in_a_guard_page(self):
        self.each_place("rsp_guard", "StackPointerIsInAGuardPage", verified=_NO_STACK)

    def test_stack_pointer_is_in_read_only_memory(self):
        self.each_place("rsp_read_only", "StackPointerIsReadOnly", verified=_NO_STACK)

    def test_instruction_pointer_is_null(self):
        # The called address has no function; the caller's frame is found by the return
        # address.
        self.survive("rip_null", function=None, callers=["main"])
        self.survive("rip_null", "worker", function=None, callers=["victim::Run"])

    def test_instruction_pointer_is_in_no_mapping(self):
        self.survive("rip_unmapped", function=None, callers=["main"])

    def test_call_of_a_non_canonical_address(self):
        self.each_place("rip_non_canonical", "CallNonCanonical")

    def test_return_to_a_non_canonical_address(self):
        self.each_place("return_non_canonical", "ReturnToNonCanonical")

    def test_direction_flag_is_set(self):
        self.each_place("direction_flag", "DirectionFlagIsSet", in_gdb=True)

    def test_alignment_check_is_on(self):
        self.each_place("alignment_check", "AlignmentCheckIsOn")

    def test_alignment_check_fails(self):
        self.each_place("alignment_fault", "FailAlignmentCheck", number=signal.SIGBUS)

    def test_trap_flag_is_set(self):
        self.each_place("trap_flag", "TrapFlagIsSet", number=signal.SIGTRAP)

    def test_unmasked_sse_exception(self):
        self.each_place("sse_exception", "DivideInUnmaskedSse", number=signal.SIGFPE)

    def test_unmasked_x87_exception_is_pending(self):
        self.each_place("x87_pending", "UnmaskedX87ExceptionIsPending")

    def test_thread_pointer_is_null(self):
        self.each_place("fs_null", "ThreadPointerIsNull")

    def test_thread_pointer_is_wild(self):
        self.each_place("fs_wild", "ThreadPointerIsWild")

    def test_signal_is_sent_while_the_thread_pointer_is_wrong(self):
        for how in ("null", "wild", "astray"):
            self.each_place(
                f"quit_fs_{how}", "SendQuitWithThreadPointer", number=signal.SIGQUIT
            )
