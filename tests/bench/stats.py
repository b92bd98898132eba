"""The few statistics that the benchmarks report."""

import math


def quantile(values, fraction):
    """The value below which `fraction` of `values` lies, interpolated linearly."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    place = fraction * (len(ordered) - 1)
    low = math.floor(place)
    high = math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values):
    return quantile(values, 0.5)


def geometric_mean(values):
    values = list(values)
    if not values:
        raise ValueError("no values")
    return math.exp(sum(math.log(value) for value in values) / len(values))


class Ratio:
    """How many times `ours` is `reference`, sample by sample of the same round.

    Samples of one round were taken next to each other, so what slowed the machine down
    for a while slowed both. `middle` is the median of the rounds' ratios, `low` and
    `high` are their quartiles.
    """

    def __init__(self, ours, reference):
        ratios = [a / b for a, b in zip(ours, reference) if b > 0]
        self.middle = median(ratios)
        self.low = quantile(ratios, 0.25)
        self.high = quantile(ratios, 0.75)

    def __str__(self):
        return "%.2f (%.2f-%.2f)" % (self.middle, self.low, self.high)
