"""Crashes of programs that have scribbled over memory first: the scan ends, the core is
valid, the stacks are there."""

from tests.torture import torture

_STANDING = {"bystander0": "victim::Park", "bystander1": "victim::Park"}
_HOW = ("few", "bits", "all", "ones", "pointers")


# A scribbled index has tags that nobody named, and then anything may be a secret; and
# allocations that overlap, so that one which may be secret lies around what debuggers
# need and is written, sanitised.
_NAMELESS = (
    "has the tag id", "And [0-9]+ more", "^Remark: ", "[(]sanitized[)] is not one",
    "[(]secret[)] is not one",
)  # fmt: skip


class Corruption(torture.Torture):
    def scribble(self, what, **how_checked):
        for how in _HOW:
            for seed in range(torture.many(1, 40)):
                with self.subTest(how=how, seed=seed):
                    self.survive_in(
                        torture.LINKED, "scribble", what, how, str(seed), callers=["main"],
                        unwound=_STANDING, control=False, **how_checked,
                    )  # fmt: skip

    def test_the_heap_with_jemallocs_own_data(self):
        self.scribble("heap")

    def test_the_index(self):
        self.scribble("index", verified=_NAMELESS)

    def test_the_dumpers_memory_is_out_of_reach(self):
        # The wild write itself is what the program dies of.
        for how in _HOW:
            with self.subTest(how=how):
                self.survive_in(
                    torture.LINKED, "scribble", "dumper", how, "1", function=None,
                    callers=["torture::Scribble", "torture::ScribbleOver", "main"],
                    unwound=_STANDING, control=False,
                )  # fmt: skip

    def test_the_list_of_libraries(self):
        # `minicore verify` says what is wrong with it, and rightly so.
        for how in ("loop", "self", "wild", "odd", "null", "name", "address"):
            with self.subTest(how=how):
                self.survive(
                    "link_map", how, callers=["main"], unwound=_STANDING, verified=False
                )

    def test_the_thread_control_block(self):
        for how in ("dtv", "all"):
            with self.subTest(how=how):
                self.survive(
                    "control_block", how, callers=["main"], unwound=_STANDING, verified=False
                )

    def test_the_whole_stack(self):
        self.survive(
            "stack_scribbled", function="torture::StackScribbled", unwound=_STANDING
        )

    def test_the_handlers_configuration_is_out_of_reach(self):
        for how in ("few", "all", "ones"):
            with self.subTest(how=how):
                self.survive_in(
                    torture.LINKED, "globals_scribbled", how, "1", function=None,
                    callers=["torture::Scribble", "main"], control=False,
                )  # fmt: skip
