"""A pointer anywhere into a heap object keeps the whole object; the byte behind it
belongs to somebody else; a freed object is called freed."""

import hashlib
import unittest

from tests.support import contents, cores, gdb, victim

REGISTERS = {"24": "rbx", "1K": "rcx", "13K": "rdx", "20K": "rsi", "5M": "rdi"}
# The largest object is over the default limits for one object and for all together.
ROOMY = "max_bytes=64M:root_bytes=16M:object_bytes=16M"
# The contents are random: once in a hundred crashes the lower 48 bits of one of the words of
# an object are the address of its neighbour.
EXACT = ROOMY + ":tagged_pointers=0"


class Objects(unittest.TestCase):
    def crash(self, build, scenario, options=ROOMY):
        child = victim.run(build, scenario, options=options, kernel_core=cores.KERNEL)
        self.addCleanup(child.discard)
        cores.verify(cores.of(child))
        return child

    @staticmethod
    def memory(child, name):
        address, size, _, _ = child.fact("object." + name)
        return gdb.Memory(address, size)

    def ask_all(self, child):
        names = [name + suffix for name in REGISTERS for suffix in ("", ".before", ".behind")]
        values = [self.memory(child, name) for name in names]
        values += [gdb.Ask("$" + register) for register in REGISTERS.values()]
        return gdb.ask(child.victim.program, cores.of(child), values)

    def check_whole(self, build, scenario, offset_of):
        child = self.crash(build, scenario)
        answers = self.ask_all(child)
        for name, register in REGISTERS.items():
            with self.subTest(object=name):
                address, size, usable, seed = child.fact("object." + name)
                pointer = answers.value(gdb.Ask("$" + register))
                self.assertEqual(pointer, address + offset_of(usable))
                digest = hashlib.sha256(contents.of(seed, size)).hexdigest()
                self.assertEqual(answers.value(self.memory(child, name)), digest)

    @cores.each_build
    def test_a_pointer_into_the_middle_keeps_the_whole_object(self, build):
        self.check_whole(build, "objects_middle", lambda usable: usable // 3)

    @cores.each_build
    def test_a_pointer_to_the_last_byte_keeps_the_whole_object(self, build):
        self.check_whole(build, "objects_last_byte", lambda usable: usable - 1)

    @cores.without_kernel("has the whole heap")
    @cores.each_build
    def test_a_pointer_behind_the_last_byte_does_not_keep_the_object(self, build):
        child = self.crash(build, "objects_next_byte", options=EXACT)
        anchors = cores.anchors(cores.of(child))
        objects = {}
        for name, register in REGISTERS.items():
            with self.subTest(object=name):
                address, size, usable, seed = child.fact("object." + name)
                objects[name] = contents.of(seed, min(size, 4096))
                if register in anchors:  # it may point to the next object
                    anchor = anchors[register]
                    self.assertEqual(int(anchor["value"], 16), address + usable)
                    self.assertNotEqual(int(anchor["begin"], 16), address)
        self.assertEqual(contents.found(cores.of(child).read_bytes(), objects), {})

    @cores.without_kernel("has no such notes")
    @cores.each_build
    def test_what_a_pointer_points_to_is_named_in_the_notes(self, build):
        child = self.crash(build, "objects_last_byte")
        anchors = cores.anchors(cores.of(child))
        for name, register in REGISTERS.items():
            with self.subTest(object=name):
                address, _, usable, _ = child.fact("object." + name)
                anchor = anchors[register]
                self.assertEqual(anchor["state"], "live")
                self.assertEqual(int(anchor["begin"], 16), address)
                self.assertEqual(anchor["size"], usable)

    @cores.without_kernel("has no such notes")
    @cores.each_build
    def test_a_freed_object_is_reported_as_freed_with_its_size(self, build):
        child = self.crash(build, "objects_freed")
        anchors = cores.anchors(cores.of(child))
        for name, register in REGISTERS.items():
            with self.subTest(object=name):
                address, _, usable, _ = child.fact("object." + name)
                anchor = anchors[register]
                self.assertEqual(anchor["state"], "freed", anchor)
                self.assertEqual(int(anchor["begin"], 16), address)
                self.assertEqual(anchor["size"], usable)

    @cores.without_kernel("has the whole heap")
    @cores.each_build
    def test_what_nobody_points_to_is_left_out(self, build):
        child = self.crash(build, "objects_middle", options=EXACT)
        neighbours = {}
        for name in REGISTERS:
            for neighbour in (name + ".before", name + ".behind"):
                _, size, _, seed = child.fact("object." + neighbour)
                neighbours[neighbour] = contents.of(seed, min(size, 4096))
        self.assertEqual(contents.found(cores.of(child).read_bytes(), neighbours), {})

    @cores.each_build
    def test_a_chain_of_5000_objects_is_kept_to_its_end(self, build):
        child = self.crash(build, "objects_chain", options="")
        data = cores.of(child).read_bytes()
        links = child.fact("chain.links")
        missing = [n for n in range(links) if contents.of(1000 + n, 48) not in data]
        self.assertEqual(missing, [])
