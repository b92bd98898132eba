#!/usr/bin/python3
"""Fails if one function of the handler takes more than LIMIT bytes of stack, or an amount
that is only known when it runs:

  frames_test.py LIMIT ARCHIVE...

The sum of the frames is measured where they are in use: stack_budget_test.
"""

import re
import subprocess
import sys

_FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
_FRAME = re.compile(r"\bsub +\$0x([0-9a-f]+),%rsp")
_UNBOUNDED = re.compile(r"\bsub +%[a-z0-9]+,%rsp")


def main() -> int:
  limit, archives = int(sys.argv[1]), sys.argv[2:]
  assert archives, "no archives given"
  listing = subprocess.run(
      ["objdump", "--disassemble", "--no-show-raw-insn", "--demangle", *archives],
      check=True, capture_output=True, text=True).stdout
  frames: dict[str, int] = {}
  unbounded = []
  name = ""
  for line in listing.splitlines():
    if match := _FUNCTION.match(line):
      name = match[1]
      frames[name] = 0
    elif match := _FRAME.search(line):
      # gcc takes a large frame page by page, to probe it: the sum counts.
      size = int(match[1], 16)
      frames[name] = frames[name] + size if size == 4096 else max(frames[name], size)
    elif _UNBOUNDED.search(line):
      unbounded.append(name)
  assert len(frames) > 50, f"only {len(frames)} functions seen: is the path right?"
  for name in unbounded:
    print(f"not constant: {name}")
  for name, size in sorted(frames.items(), key=lambda item: -item[1])[:5]:
    print(f"{size:6} bytes: {name[:100]}")
  return bool(unbounded) or max(frames.values()) > limit


if __name__ == "__main__":
  sys.exit(main())
