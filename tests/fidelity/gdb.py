"""Runs gdb in batch mode with one of the probes of this directory."""

import json
import os
import pathlib
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
_TIMEOUT_S = 900


def run(probe, program, core, questions, scratch, extra=()):
    """Loads `core` into gdb and runs `probe`, a Python file, inside.

    `program` may be None. The probe finds `questions` in the JSON file that the variable
    PROBE_IN names, and writes its answer to PROBE_OUT.

    Returns: (answer, what gdb printed, seconds).
    """
    asked = scratch / "questions.json"
    answered = scratch / "answers.json"
    asked.write_text(json.dumps(questions))
    answered.unlink(missing_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(scratch),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PROBE_IN": str(asked),
        "PROBE_OUT": str(answered),
    }
    started = time.monotonic()
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off",
         "-iex", "set width 0", "-iex", "set style enabled off",
         "-iex", "set backtrace past-main on", *extra,
         *([str(program)] if program else []),
         *(["-c", str(core)] if core else []), "-x", str(HERE / probe)],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=_TIMEOUT_S, text=True, errors="replace",
    )  # fmt: skip
    seconds = time.monotonic() - started
    if not answered.exists():
        raise RuntimeError(f"gdb gave no answer for {core}:\n{done.stdout[-4000:]}")
    return json.loads(answered.read_text()), done.stdout, seconds
