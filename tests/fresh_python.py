"""Programs in a Python that has imported PyTorch and nothing else.

Importing PyTorch takes longer than most of these programs. One process has imported it, and is
forked for each of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CAN_FORK = hasattr(os, "fork")

# Forks for each line with a program, and writes how it ended. The child leaves the loop: it runs
# the program at the top level, where errors and exit codes are those of `python -c`.
SERVER = """
import gc
gc.disable()  # it would go through PyTorch's objects, which live until the end
import json, os, signal, sys
import torch
gc.freeze()
gc.enable()
while True:
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    pid = os.fork()
    if pid == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
task = json.loads(line)
for number, name in enumerate((os.devnull, task["stdout"], task["stderr"])):
    os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY), number)
os.chdir(task["folder"])
os.environ.clear()
os.environ.update(task["environment"])
sys.argv = ["-c", *task["arguments"]]
signal.alarm(task["timeout"])  # ends this process
exec(compile(task["program"], "<string>", "exec"))
"""

# A program that runs its arguments under torchrun as two processes.
TORCHRUN = """
import sys
from torch.distributed.run import main
options = ["--nproc_per_node", "2", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
main([*options, *sys.argv[1:]])
"""


class FreshPython:
    """Runs programs as ``python -c`` does, but with PyTorch imported before."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def run(
        self,
        program: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        timeout: int = 240,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder of the repository.

        Args:
            program: Its text.
            arguments: Its ``sys.argv[1:]``.
            environment: Its variables besides those of this process.
            timeout: Seconds after which it is ended by a signal.
        """
        variables = {**os.environ, **(environment or {})}
        if not CAN_FORK:
            return subprocess.run(
                [sys.executable, "-c", program, *arguments],
                cwd=ROOT,
                env=variables,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        with tempfile.TemporaryDirectory() as folder:
            outputs = [Path(folder, name) for name in ("stdout", "stderr")]
            for path in outputs:
                path.touch()
            task = {
                "program": program,
                "arguments": arguments,
                "environment": variables,
                "folder": str(ROOT),
                "stdout": str(outputs[0]),
                "stderr": str(outputs[1]),
                "timeout": timeout,
            }
            code = self._ask(json.dumps(task))
            texts = [path.read_text(encoding="utf-8", errors="replace") for path in outputs]
        return subprocess.CompletedProcess([program, *arguments], code, *texts)

    def _ask(self, line: str) -> int:
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, "-c", SERVER],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the tests
            )
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(f"{line}\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """End the process that is forked."""
        if self._server is not None:
            self._server.communicate()
