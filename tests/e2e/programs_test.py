"""Whole programs run unchanged under the preload: the same output, the same exit status,
nothing added to standard error."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from tests.support import cores, victim

_TIMEOUT_S = 300


class Programs(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(dir=os.environ["TEST_TMPDIR"]))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def run_once(self, program, arguments, preload, stdin, files):
        """Runs in a fresh directory at the same path, so that outputs can be equal."""
        directory = self.scratch / "directory"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for name, text in files.items():
            (directory / name).write_text(text)
        source = self.scratch / "stdin"
        source.write_text(stdin)
        with open(source, "rb") as stdin_file:
            child = victim.run(
                victim.Victim(program, program, preload=preload),
                *arguments,
                directory=directory,
                stdin=stdin_file,
                environment={"HOME": str(directory), "TMPDIR": str(directory)},
                timeout=_TIMEOUT_S,
            )
        made = {
            str(path.relative_to(directory)): path.read_bytes()
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        }
        return child, made

    def expect_unchanged(self, program, *arguments, stdin="", files={}, compare_files=True):
        path = shutil.which(program, path="/usr/bin:/bin")
        if path is None:
            self.skipTest(f"SKIPPED: {program} is not installed")
        plain, plain_files = self.run_once(path, arguments, False, stdin, files)
        child, child_files = self.run_once(path, arguments, True, stdin, files)
        self.assertEqual(victim.describe(child.status), victim.describe(plain.status), child.stderr)
        self.assertEqual(child.stdout, plain.stdout)
        self.assertEqual(child.stderr, plain.stderr)
        if compare_files:
            self.assertEqual(sorted(child_files), sorted(plain_files))
            self.assertEqual(child_files, plain_files)
        return child

    def test_ls(self):
        child = self.expect_unchanged("ls", "-lR", "/usr/include")
        self.assertGreater(len(child.stdout), 10_000)

    def test_ls_of_a_missing_file(self):
        child = self.expect_unchanged("ls", "missing")
        self.assertEqual(child.status, 2 << 8)

    def test_jemalloc_hears_its_own_variable(self):
        true = victim.Victim("true", shutil.which("true", path="/usr/bin:/bin"), preload=True)
        child = victim.run(true, environment={"MALLOC_CONF": "no_such_option:1"})
        self.assertIn("no_such_option", child.stderr)

    def test_bash(self):
        script = """
            declare -A seen
            for ((i = 0; i < 20000; i++)); do seen[$((i % 997))]+=x; done
            echo "${#seen[@]} ${seen[5]}"
            trap 'echo caught' USR1; kill -USR1 $$
            seq 1 1000 | while read -r n; do echo $((n * n)); done | tail -n 1
            (ulimit -n 20; true) & wait $!; exit 7
        """
        child = self.expect_unchanged("bash", "-c", script)
        self.assertEqual(child.status, 7 << 8)

    def test_sqlite3_with_100000_rows(self):
        script = """
            create table t(id integer primary key, name text, value real);
            with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
              insert into t select i, 'name ' || (i * 7919 % 100003), i / 7.0 from n;
            create index by_name on t(name);
            select count(*), sum(value), min(name), max(name) from t;
            select substr(name, 1, 7) as p, count(*) from t group by p order by 2 desc, 1 limit 9;
            delete from t where id % 3 = 0; vacuum; pragma integrity_check;
        """
        child = self.expect_unchanged("sqlite3", "test.db", stdin=script)
        self.assertIn(b"ok", child.stdout)

    def test_gcc_compiles_cpp(self):
        source = """
            #include <map>
            #include <regex>
            #include <string>
            std::map<std::string, int> count(const std::string& text) {
              std::map<std::string, int> counts;
              std::regex word("[a-z]+");
              for (std::sregex_iterator i(text.begin(), text.end(), word), end; i != end; ++i)
                ++counts[i->str()];
              return counts;
            }
        """
        self.expect_unchanged("g++", "-O2", "-c", "words.cc", "-o", "words.o",
                              files={"words.cc": source})  # fmt: skip

    def test_git(self):
        script = """
            export GIT_AUTHOR_DATE='2020-01-01 00:00:00 +0000' GIT_COMMITTER_DATE='2020-01-01 00:00:00 +0000'
            export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example
            set -e
            git init -q -b main repository; cd repository
            for i in $(seq 1 15); do seq 1 $((i * 100)) > file$i; git add .; git commit -q -m "commit $i"; done
            git checkout -q -b side HEAD~5; echo side > side; git add side; git commit -q -m side
            git merge -q -m merge main; git gc -q; git fsck --strict
            git log --stat --oneline --graph
        """
        # What lies in .git has times in it; the log has the hashes.
        child = self.expect_unchanged("bash", "-c", script, compare_files=False)
        self.assertGreater(child.stdout.count(b"\n"), 30)

    def test_python_with_threads_and_ctypes(self):
        script = """
import ctypes, json, re, threading
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.realloc.restype = ctypes.c_void_p
libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
results = {}
def work(n):
    block = libc.malloc(100)
    for size in (10, 1000, 100000, 10, 3000000, 50):
        block = libc.realloc(block, size)
        ctypes.memset(block, n, size)
    first = ctypes.string_at(block, 50)
    libc.free(block)
    table = {str(i): [i] * (i % 50) for i in range(5000)}
    results[n] = (first == bytes([n]) * 50, len(json.dumps(table)), len(re.findall("1", str(table))))
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
for n in sorted(results): print(n, *results[n])
raise SystemExit(3)
"""
        child = self.expect_unchanged("python3", "-B", "-c", script)
        self.assertEqual(child.status, 3 << 8)

    def test_pythons_own_tests(self):
        tests = ["test_json", "test_dict", "test_threading"]
        found = subprocess.run(
            ["/usr/bin/python3", "-c", "import test." + ", test.".join(tests)],
            stderr=subprocess.DEVNULL,
        )
        if found.returncode != 0:
            self.skipTest("SKIPPED: python3 comes without its own tests here")
        python = victim.Victim("python3", "/usr/bin/python3", preload=True)
        child = victim.run(
            python, "-B", "-m", "test", "--tempdir", str(self.scratch), *tests, timeout=_TIMEOUT_S
        )
        self.assertEqual(child.status, 0, child.stdout.decode() + child.stderr)


def load_tests(loader, tests, pattern):
    if cores.KERNEL:
        return unittest.TestSuite()
    return tests
