"""Allocation-heavy Python: dictionaries, strings, JSON, objects. Argument: size."""

import json
import sys


class Record:
    def __init__(self, number):
        self.number = number
        self.name = "record number %d" % number
        self.tags = ["tag%d" % (number % k) for k in (3, 7, 31)]


def main(size):
    total = 0
    for turn in range(4):
        records = [Record(n) for n in range(size)]
        by_name = {record.name: record for record in records}
        words = " ".join(by_name).split()
        counts = {}
        for word in words:
            counts[word] = counts.get(word, 0) + 1
        text = json.dumps([vars(record) for record in records])
        total += len(json.loads(text)) + len(counts)
        records.sort(key=lambda record: record.name[::-1])
        total += sum(len(record.tags) for record in records[turn::2])
    print(total)


main(int(sys.argv[1]))
