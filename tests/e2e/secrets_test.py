"""No secret is in the finished file, wherever the program has left a copy; the other tags
do what they say."""

import unittest

from tests.support import contents, cores, gdb, victim

ENVIRONMENT_SECRET = "correct-horse-battery-staple-0123456789"
REASON = "holds everything: that is why minicore exists"


class Secrets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.children = []
        for build in cores.BUILDS:
            for worker in (False, True):
                child = victim.run(
                    build,
                    "secrets",
                    *(["--worker"] if worker else []),
                    kernel_core=victim.kernel_writes_core_files(),
                    environment={"SESSION_TOKEN": ENVIRONMENT_SECRET},
                )
                cls.children.append((f"{build.name}, worker={worker}", child))

    @classmethod
    def tearDownClass(cls):
        for _, child in cls.children:
            child.discard()

    def each_core(self):
        for name, child in self.children:
            core = cores.of(child)
            yield name, child, core.read_bytes()

    def expectations(self, child, what):
        facts = [f for f in child.facts if f["name"].startswith(what + ".")]
        self.assertGreater(len(facts), 3)
        for fact in facts:
            yield fact["name"], contents.of(*fact["value"])

    def test_the_core_is_whole(self):
        for name, child in self.children:
            with self.subTest(build=name):
                cores.verify(cores.of(child))

    @cores.without_kernel(REASON)
    def test_no_16_bytes_of_a_secret_are_in_the_file(self):
        for build, child, data in self.each_core():
            with self.subTest(build=build):
                secrets = dict(self.expectations(child, "absent"))
                self.assertEqual(contents.found(data, secrets), {})

    def test_what_is_not_secret_is_in_the_file(self):
        for build, child, data in self.each_core():
            for name, expected in self.expectations(child, "present"):
                with self.subTest(build=build, what=name):
                    self.assertNotEqual(data.find(expected), -1)

    def test_the_secrets_were_in_the_memory_of_the_process(self):
        """Without this, the test above could pass by looking for the wrong bytes."""
        for build, child in self.children:
            if not victim.kernel_writes_core_files():
                self.skipTest("SKIPPED: the kernel writes no core files here")
            secrets = dict(self.expectations(child, "absent"))
            data = child.kernel_core.read_bytes()
            found = {name for name, secret in secrets.items() if secret[8:24] in data}
            wiped = {"absent.freed"}
            if child.victim is not victim.PLAIN:
                # Every other dumper leaves these out, too.
                wiped |= {name for name in secrets if "tagged_extent" in name}
            self.assertEqual(found - {"absent.freed"}, set(secrets) - wiped, build)

    @cores.without_kernel(REASON)
    def test_a_secret_in_registers_is_not_in_the_notes_but_the_other_registers_are(self):
        secret = contents.of(2, 256)
        for build, child, _ in self.each_core():
            tid = child.thread("crasher")
            names = ["rbx", "rcx", "r15", "ymm3.v4_int64", "ymm15.v4_int64", "ymm4.v32_int8"]
            questions = [gdb.Ask("$" + name, tid) for name in names]
            answers = gdb.ask(child.victim.program, cores.of(child), questions)
            value = {n: answers.value(q) for n, q in zip(names, questions)}
            with self.subTest(build=build):
                secret_words = contents.words(secret)
                for name in ("ymm3.v4_int64", "ymm15.v4_int64"):
                    held = {word & (1 << 64) - 1 for word in value[name]}
                    self.assertEqual(held & secret_words, set(), name)
                self.assertNotIn(value["rbx"] & (1 << 64) - 1, secret_words)
                general = child.fact("crash.general")
                self.assertEqual(value["rcx"] & (1 << 64) - 1, general[2])
                self.assertEqual(value["r15"] & (1 << 64) - 1, general[15])
                plain = child.fact("crash.vectors")[4]
                self.assertEqual([byte & 0xFF for byte in value["ymm4.v32_int8"]], plain)

    @cores.without_kernel(REASON)
    def test_a_cache_is_cut_to_its_first_256_bytes(self):
        for build, child, data in self.each_core():
            with self.subTest(build=build):
                cache = contents.of(*child.fact("cache"))
                self.assertNotEqual(data.find(cache[:64]), -1)
                self.assertEqual(contents.found(data, {"cache": cache[256:]}), {})

    @cores.without_kernel(REASON)
    def test_values_of_the_environment_are_not_in_the_file(self):
        for build, _, data in self.each_core():
            with self.subTest(build=build):
                value = ENVIRONMENT_SECRET.encode()
                self.assertEqual((data.find(value), data.find(value[8:])), (-1, -1))

    def test_a_rule_brings_the_cache_back(self):
        for build in cores.BUILDS:
            with self.subTest(build=build.name):
                child = victim.run(
                    build, "secrets", options="tag.cache=keep", kernel_core=cores.KERNEL
                )
                self.addCleanup(child.discard)
                seed, size = child.fact("cache")
                # One word in it is a pointer.
                data = cores.of(child).read_bytes()
                self.assertNotEqual(data.find(contents.of(seed, size)[72:]), -1)

    @cores.without_kernel(REASON)
    def test_info_counts_the_tags(self):
        for build, child, _ in self.each_core():
            with self.subTest(build=build):
                info = cores.info(cores.of(child))
                self.assertGreater(info["tags"]["secret"]["elided"], 0)
                self.assertEqual(info["tags"]["cache"]["cut"], 1)
                self.assertEqual(info["tags"]["keep"]["kept"], 1)
                self.assertIn("secret", str(info["holes_by_reason"]))
