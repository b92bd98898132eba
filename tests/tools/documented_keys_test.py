#!/usr/bin/python3
"""The keys that docs/CLI.md and docs/FORMAT.md promise are those that are written:

  documented_keys_test.py MINICORE CLI_MD FORMAT_MD
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import unittest

_ROW = re.compile(r"^\| `([^`]+)` \|(.*)\|$", re.M)
_MINICORE, _CLI, _FORMAT = (os.path.abspath(name) for name in sys.argv[1:4])

# Dumps itself alive, then crashes with its heap's address in a register.
_PROGRAM = f"""
import ctypes, os
text = "-".join(["findable", "text", str(7 ** 50)])
os.kill(os.getpid(), {signal.SIGUSR2.value})
ctypes.memmove(ctypes.create_string_buffer(text.encode(), 4096), 8, 64)
"""
_PATTERN = f"findable-text-{7 ** 50}"


def documented(name, heading):
  """{key: may be missing} of the table below a heading."""
  with open(name) as file:
    text = file.read()
  section = re.split(r"^#+ ", text[text.index(heading) + len(heading):], 1, re.M)[0]
  return {key: bool(re.search(r"\bif\b", meaning)) for key, meaning in _ROW.findall(section)}


def keys_of(value, path=""):
  if isinstance(value, dict):
    for key, item in value.items():
      # "report.holes.canary.count" is that key and not one with dots in it. The names of
      # tags are the program's.
      assert "." not in key or path == "tags", f"{path} has the key {key}"
      yield from keys_of(item, f"{path}.{key}" if path else key)
  elif isinstance(value, list):
    for item in value:
      yield from keys_of(item, path + "[]")
  else:
    yield path


def pattern_of(key):
  """What is in capitals stands for any name."""
  return re.compile(re.sub(r"[A-Z]{3,}", ".+", re.escape(key)) + "$")


class DocumentedKeysTest(unittest.TestCase):

  @classmethod
  def setUpClass(cls):
    cls.work = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
    os.chdir(cls.work.name)
    subprocess.run(
        [_MINICORE, "run", "-o", "path=core.%s", "-o", "dump_signal=USR2", "-o", "max_bytes=64K",
         "--", sys.executable, "-c", _PROGRAM],
        check=False, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
    cls.crashed = f"core.{signal.SIGSEGV.value}"
    cls.live = "core.0"
    if not os.path.exists(cls.live):
      cls.live = f"core.{signal.SIGUSR2.value}"

  @classmethod
  def tearDownClass(cls):
    os.chdir("/")
    cls.work.cleanup()

  def answer(self, *arguments):
    done = subprocess.run([_MINICORE, *arguments], stdout=subprocess.PIPE)
    return json.loads(done.stdout)

  def compare(self, expected, written):
    patterns = {key: pattern_of(key) for key in expected}
    for key in sorted(written):
      self.assertTrue(any(pattern.match(key) for pattern in patterns.values()),
                      f"{key} is written, and not documented")
    for key, pattern in patterns.items():
      if not expected[key]:
        self.assertTrue(any(map(pattern.match, written)),
                        f"{key} is documented, and not written")

  def test_info(self):
    expected = documented(_CLI, "### info --json")
    written = set(keys_of(self.answer("info", "--json", self.crashed)))
    # Those of the report are another table's.
    self.compare({key: missing for key, missing in expected.items() if key != "report.KEY"},
                 {key for key in written if not key.startswith("report.") or
                  key.startswith(("report.holes.", "report.elided.", "report.option.",
                                  "report.points_to"))})
    # A live dump may have nothing in its registers.
    self.compare({key: True for key in expected},
                 set(keys_of(self.answer("info", "--json", self.live))))

  def test_report(self):
    expected = documented(_FORMAT, "### 0x4d430001 report")
    seen = set()
    for core in (self.crashed, self.live):
      report = self.answer("info", "--json", core)["report"]
      groups = {key for key, value in report.items() if isinstance(value, dict)}
      self.assertLessEqual(groups, {"holes", "elided", "option"})
      written = {f"{key}.{name}" for key in groups for name in report[key]} | (set(report) - groups)
      self.compare(expected, written)
      seen |= written
    self.assertIn("thawed_us", seen)
    self.assertIn("points_to", seen)
    self.assertTrue(any(key.startswith("elided.") for key in seen))

  def test_standard_input_is_a_core_like_another(self):
    expected = {**self.answer("info", "--json", self.crashed), "core": "-"}
    with open(self.crashed, "rb") as core:
      done = subprocess.run([_MINICORE, "info", "--json", "-"], stdin=core, stdout=subprocess.PIPE)
      self.assertEqual(json.loads(done.stdout), expected)
    with open(self.crashed, "rb") as core:  # by a pipe
      done = subprocess.run(
          [_MINICORE, "info", "--json", "-"], input=core.read(), stdout=subprocess.PIPE)
      self.assertEqual(json.loads(done.stdout), expected)

  def test_verify(self):
    self.compare(documented(_CLI, "### verify --json"),
                 set(keys_of(self.answer("verify", "--json", self.crashed))))

  def test_verify_secrets(self):
    with open("patterns", "w") as file:
      file.write(_PATTERN + "\n")
    answer = self.answer("verify", "--json", "--secrets", "patterns", self.crashed)
    self.assertFalse(answer["clean"])
    expected = documented(_CLI, "### verify --secrets --json")
    expected["findings[].address"] = False
    self.compare(expected, set(keys_of(answer)))


if __name__ == "__main__":
  unittest.main(argv=sys.argv[:1])
