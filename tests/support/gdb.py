"""Asks gdb about a core: one start of gdb answers a whole list of questions."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import tempfile

_PROBE = pathlib.Path(__file__).resolve().parent / "gdb_probe.py"
_TIMEOUT_S = 240


@dataclasses.dataclass(frozen=True)
class Ask:
    """One expression. `function`: in the innermost frame of that function."""

    expression: str
    thread: int = None
    function: str = None
    all_frames: bool = False


@dataclasses.dataclass(frozen=True)
class Memory:
    """The SHA-256 of `size` bytes of memory, in hexadecimal."""

    address: int
    size: int


class Answers:
    """What gdb said.

    threads   {thread id: [frame, ...]}, innermost first; a frame is a dict with
              function, pc, file, line, library, is_signal_frame, on_stack
    current   the thread that gdb selected
    output    {command: its output}
    """

    def __init__(self, questions, reply, log):
        self.threads = {int(tid): frames for tid, frames in reply["threads"].items()}
        self.current = reply["current"]
        self.output = reply["output"]
        self.log = log
        self._values = dict(zip(questions, reply["values"]))

    def value(self, question):
        """The value, as plain Python; AssertionError with gdb's error if it had none."""
        answer = self._values[question]
        if "error" in answer:
            raise AssertionError(f"gdb cannot print {question}: {answer['error']}")
        return answer["value"]

    def error(self, question):
        """gdb's error, or None if it had a value."""
        return self._values[question].get("error")

    def functions(self, tid):
        return [frame["function"] for frame in self.threads[tid]]

    def warnings(self):
        """The kinds of gdb's warnings: the sentences without numbers and names."""
        lines = [line for line in self.log.splitlines() if re.search("warning|BFD", line, re.I)]
        return {re.sub(r"0x[0-9a-f]+|\d+|'[^']*'|/\S+", "#", line) for line in lines}


def ask(program, core, values=(), commands=()):
    """Loads `core` of `program` into gdb and asks."""
    values = list(dict.fromkeys(values))
    with tempfile.TemporaryDirectory(dir=os.environ["TEST_TMPDIR"]) as scratch:
        questions_path = os.path.join(scratch, "questions")
        answers_path = os.path.join(scratch, "answers")
        with open(questions_path, "w") as file:
            json.dump(
                {
                    "values": [dataclasses.asdict(question) for question in values],
                    "commands": list(commands),
                },
                file,
            )
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": scratch,
            "LANG": "C.UTF-8",
            "MINICORE_QUESTIONS": questions_path,
            "MINICORE_ANSWERS": answers_path,
        }
        done = subprocess.run(
            ["gdb", "-nx", "-batch",
             "-iex", "set debuginfod enabled off",
             "-iex", "set width 0",
             "-iex", "set print elements 0",
             "-iex", "set style enabled off",
             "-iex", "set backtrace past-main on",
             str(program), str(core), "-x", str(_PROBE)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            text=True,
            errors="replace",
        )  # fmt: skip
        if not os.path.exists(answers_path):
            raise AssertionError(f"gdb gave no answers for {core}:\n{done.stdout}")
        with open(answers_path) as file:
            reply = json.load(file)
    return Answers(values, reply, done.stdout)
