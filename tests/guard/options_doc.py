#!/usr/bin/python3
"""docs/OPTIONS.md from dump/options.def, the only list of options:

  options_doc.py OPTIONS_DEF            the document, on standard output
  options_doc.py OPTIONS_DEF OPTIONS_MD fails unless the document is current
"""

import difflib
import re
import sys

_OPTION = re.compile(
    r'^MINICORE_OPTION\((\w+), (\w+), "((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"\)$', re.M)

_TYPES = {
    "STRING": "text",
    "SIZE": "bytes; `K`, `M`, `G`",
    "TIME": "milliseconds, with `ms` or without; `s`",
    "NUMBER": "a count",
    "FLAG": "0 or 1",
    "FD": "a descriptor, or -1",
}

_HEAD = """\
# Options

This document is made from `dump/options.def`, the only list of options; edit that, then
`tests/guard/options_doc.py dump/options.def > docs/OPTIONS.md`.

An option has its value from the first of these that names it:

* the environment variable `MINICORE_OPTIONS`, read when minicore is installed, and set by
  `minicore run -o KEY=VALUE PROGRAM`;
* the field of `minicore_config` that has its name (`minicore/minicore.h`);
* the default.

`MINICORE_OPTIONS` is a list of `key=value`, separated by `:`. A `:` that no `key=` follows
belongs to the value before it (`env=allow:PATH,LANG:verbose=1` has two options), as does
one behind a backslash. Of two values for one key the last counts. An option that is not
known, or has no valid value, is named on standard error, and the others hold; a tag whose
rule is none is elided.

| option | type | default | meaning |
|---|---|---|---|
"""

_TAIL = """\
| `tag.NAME` | `keep`, `label`, `cut`, `elide` | see below | what is done with memory that is tagged NAME |

A tag's rule says what of its memory is written. Where several apply to a byte, the most
protective wins.

| rule | written | tags that have it by default |
|---|---|---|
| `elide` | nothing, nor any copy of its bytes | `secret` |
| `cut` | the first 256 bytes when it is reached; not searched for pointers | `cache` |
| `keep` | all of it, reached or not, before all else that `max_bytes` is for | `keep` |
| `label` | all of it when it is reached | any other name |

In `minicore_config` these rules stand in the field `tags`, without the `tag.`:
`"cache=keep:session=elide"`.
"""


def cell(text: str) -> str:
  return text.replace("|", "\\|")


def document(options_def: str) -> str:
  declared = options_def.count("\nMINICORE_OPTION(")
  options = _OPTION.findall(options_def)
  assert options and len(options) == declared, f"{len(options)} of {declared} options read"
  rows = []
  for name, kind, default, help_text in options:
    shown = f"`{cell(default)}`" if default else "none"
    rows.append(f"| `{name}` | {_TYPES[kind]} | {shown} | {cell(help_text)} |\n")
  return _HEAD + "".join(rows) + _TAIL


def main() -> int:
  with open(sys.argv[1], encoding="utf-8") as file:
    wanted = document(file.read())
  if len(sys.argv) == 2:
    sys.stdout.write(wanted)
    return 0
  with open(sys.argv[2], encoding="utf-8") as file:
    found = file.read()
  difference = list(difflib.unified_diff(
      found.splitlines(), wanted.splitlines(), sys.argv[2], "made from the list",
      lineterm=""))
  print("\n".join(difference) or "current")
  return bool(difference)


if __name__ == "__main__":
  sys.exit(main())
