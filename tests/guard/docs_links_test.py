#!/usr/bin/python3
"""Fails if a document names a file, a folder or a target that is not there:

  docs_links_test.py README_MD

Documents are all *.md of the tree. A name is what stands in a link, or between backquotes
and looks like a path from the root of the repository; in comments of the sources, the name
of a document. The tree is found by the real place of README.md.
"""

import os
import re
import sys

_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
_CODE = re.compile(r"`([^`\n]+)`")
# The folders whose files a document can mean by "folder/...".
_PATH = re.compile(r"^(alloc|docs|dump|tests|tools|\.ci)(/[\w.+-]+)*/?$")
_LABEL = re.compile(r"^//([\w/.-]*)(?::([\w.+-]+))?$")
_FILE = re.compile(r"^[\w.-]+\.(md|bzl|bazelrc)$")
_DOCUMENT = re.compile(r"\bdocs/[A-Z_]+\.md\b")


def braces(name: str) -> list[str]:
  """a/{b,c}.h as a/b.h and a/c.h"""
  match = re.search(r"\{([^{}]*)\}", name)
  if not match:
    return [name]
  return [expanded
          for part in match[1].split(",")
          for expanded in braces(name[:match.start()] + part.strip() + name[match.end():])]


class Tree:

  def __init__(self, root: str):
    self.root = root

  def has(self, path: str) -> bool:
    return os.path.exists(os.path.join(self.root, path))

  # "dump/handler/freeze" stands for the header and what implements it.
  def has_unit(self, path: str) -> bool:
    return self.has(path) or self.has(path + ".h")

  def has_target(self, package: str, name: str | None) -> bool:
    build = os.path.join(self.root, package, "BUILD")
    if package.endswith("/...") or package == "...":
      return self.has(package[:-3] or ".")
    if not os.path.exists(build):
      return False
    if name in (None, "all"):
      name = os.path.basename(package)
      if name == "" or self.has(package):
        return True
    return (f'"{name}"' in self.read(os.path.join(package, "BUILD")) or
            self.has(os.path.join(package, name)))

  def files(self, endings: tuple[str, ...]) -> list[str]:
    found = []
    for folder, folders, files in os.walk(self.root):
      folders[:] = [f for f in folders
                    if not f.startswith((".git", "bazel-")) and not f.startswith("core")]
      found += [os.path.relpath(os.path.join(folder, f), self.root)
                for f in files if f.endswith(endings)]
    return sorted(found)

  def read(self, path: str) -> str:
    with open(os.path.join(self.root, path), encoding="utf-8") as file:
      return file.read()


def missing_in(tree: Tree, document: str) -> list[str]:
  text = tree.read(document)
  folder = os.path.dirname(document)
  missing = []
  for target, _ in _LINK.findall(text):
    if re.match(r"[a-z]+:", target):
      continue
    if not tree.has(os.path.normpath(os.path.join(folder, target))):
      missing.append(target)
  # Blocks of code show what a reader types, in a folder of the reader's.
  for code in _CODE.findall(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
    for name in braces(code.strip()):
      label = _LABEL.match(name)
      if label:
        if not tree.has_target(label[1], label[2]):
          missing.append(name)
      elif _PATH.match(name) and not tree.has_unit(name):
        missing.append(name)
      elif _FILE.match(name) and not (tree.has(name) or tree.has(os.path.join(folder, name))):
        missing.append(name)
  return missing


def main() -> int:
  root = os.path.dirname(os.path.realpath(sys.argv[1]))
  tree = Tree(root)
  documents = tree.files((".md",))
  assert "README.md" in documents, f"{root} is not the tree"
  bad = 0
  for document in documents:
    for name in missing_in(tree, document):
      print(f"{document}: there is no {name}")
      bad += 1
  for source in tree.files((".h", ".cc", ".py", ".sh", ".bzl", "BUILD", ".def")):
    for name in _DOCUMENT.findall(tree.read(source)):
      if not tree.has(name):
        print(f"{source}: there is no {name}")
        bad += 1
  print(f"{len(documents)} documents, {bad} names that lead nowhere")
  return bad != 0


if __name__ == "__main__":
  sys.exit(main())
