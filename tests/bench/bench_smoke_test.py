"""The benchmarks run, and leave what they promise. No figure is looked at, but that it is
one: a timing never fails this test."""

import json
import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import bench
import stats_test
from stopwatch import OURS, STOCK

_TOOLS = bench.runfiles_tools()


class SmokeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
        bench.main(["--smoke", "--out", cls.folder], _TOOLS)
        with open(os.path.join(cls.folder, "results.json")) as file:
            cls.raw = json.load(file)

    def test_every_workload_ran_with_every_contestant(self):
        self.assertGreater(len(self.raw["malloc"]), 20)
        for workload, samples in self.raw["malloc"].items():
            for name in (STOCK, OURS):
                self.assertGreater(samples[name][0]["time"], 0, workload)
                self.assertGreater(samples[name][0]["rss_kib"], 0, workload)

    def test_every_program_ran_or_is_said_to_be_absent(self):
        ran = set(self.raw["programs"])
        self.assertTrue({"python3", "g++", "perl", "bash"} <=
                        ran | set(self.raw["absent"]))
        for program, samples in self.raw["programs"].items():
            for name in (STOCK, OURS):
                self.assertGreater(samples[name][0]["time"], 0, program)

    def test_minicore_leaves_one_core_and_a_crash_without_it_leaves_none(self):
        for case in self.raw["dump"]:
            none = case["samples"]["no dump"][0]
            self.assertGreater(none["dead_ms"], 0)
            self.assertEqual(none["files"], 0)
            for sample in case["samples"]["minicore"]:
                self.assertGreater(sample["file_ms"], 0)
                self.assertGreater(sample["dead_ms"], sample["file_ms"])
                self.assertEqual(sample["files"], 1)

    def test_live_dumps_have_a_pause_each(self):
        for case in self.raw["live"]:
            self.assertEqual(len(case["pauses"]), 11)
            self.assertGreater(min(case["pauses"]), 0)

    def test_index_benchmarks_name_what_they_measured(self):
        names = [entry["name"] for entry in self.raw["index"]]
        self.assertIn("RejectWord", names)

    def test_table_has_a_row_for_each_workload(self):
        with open(os.path.join(self.folder, "table.md")) as file:
            table = file.read()
        for workload in self.raw["malloc"]:
            self.assertIn("| " + workload, table)

    def test_plot_is_well_formed(self):
        root = xml.etree.ElementTree.parse(
            os.path.join(self.folder, "plot.svg")).getroot()
        self.assertTrue(root.tag.endswith("svg"))


if __name__ == "__main__":
    suite = unittest.TestSuite()
    for case in (stats_test.StatsTest, SmokeTest):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
