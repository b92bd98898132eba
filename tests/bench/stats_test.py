"""Promises of stats.py. Run by bench_smoke_test."""

import unittest

import stats


class StatsTest(unittest.TestCase):
    def test_median_of_an_even_count_is_the_middle_of_the_two(self):
        self.assertEqual(stats.median([4, 1, 3, 2]), 2.5)

    def test_median_ignores_one_wild_value(self):
        self.assertEqual(stats.median([5, 1e9, 6]), 6)

    def test_quartiles_are_interpolated(self):
        self.assertEqual(stats.quantile([0, 1, 2, 3, 4], 0.25), 1)
        self.assertEqual(stats.quantile([0, 10], 0.75), 7.5)

    def test_geometric_mean_of_a_ratio_and_its_inverse_is_one(self):
        self.assertAlmostEqual(stats.geometric_mean([4, 0.25]), 1)

    def test_ratio_pairs_the_samples_of_one_round(self):
        # The machine became four times slower after the first round: for both.
        ratio = stats.Ratio([11, 44, 44], [10, 40, 40])
        self.assertAlmostEqual(ratio.middle, 1.1)
        self.assertAlmostEqual(ratio.high - ratio.low, 0)

    def test_no_values_have_no_median(self):
        with self.assertRaises(ValueError):
            stats.median([])


if __name__ == "__main__":
    unittest.main()
