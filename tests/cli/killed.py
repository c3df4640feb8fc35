"""A command in a process of its own, which may be killed by SIGKILL when it is about to write for the n-th time, wherever that is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from plumbline.cli.main import main

SERVER = multiprocessing.get_context("forkserver")
OURS = ("cli.cai", "cli.train", "cli.play", "pipelines.cai_run", "pipelines.icl_sources", "pipelines.play_questions", "pipelines.verify")
THEIRS = ("pytest", "torch._dynamo", "transformers.models.auto.modeling_auto", "transformers.models.llama.modeling_llama")
SERVER.set_forkserver_preload([*THEIRS, *(f"plumbline.{name}" for name in OURS)])


class Writes:
    """Counts files opened for writing below a folder, and files renamed there; the process dies before number `last`."""

    def __init__(self, out: Path, last: int) -> None:
        self.out, self.last, self.count = str(out), last, 0

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if (opened or event == "os.rename") and str(args[0]).startswith(self.out):
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)


def work(argv: Sequence[str], folder: Path, out: Path, last: int, told: Any) -> None:
    """In the child: the command, and how often it wrote."""
    os.chdir(folder)
    torch.set_num_threads(1)
    writes = Writes(out, last)
    sys.addaudithook(writes)
    code = main(argv)
    told.send(writes.count)
    sys.exit(code)


def finish(argv: Sequence[str], folder: Path, out: Path, *, last: int = 0) -> tuple[int, int]:
    """The command to its end, whichever it is: the exit code (−9: killed), and how often it wrote if it came to a good end."""
    heard, told = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=work, args=(argv, folder, out, last, told))
    process.start()
    told.close()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, heard.recv() if process.exitcode == 0 else 0
