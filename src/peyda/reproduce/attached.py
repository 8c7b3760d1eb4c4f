"""`python -m peyda.reproduce.attached FD ARGUMENTS…`: the `peyda` command, ended when whoever started it is gone.

A runner that is killed cannot take its child with it, and a child that goes on alone would write the same files as the
one that the next run starts. So the runner holds the other end of the pipe FD, and its end is the end of this process
and of all that it started.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)  # nobody ever writes: it returns when the last holder of the other end is gone
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    """See the module."""
    lifeline, *arguments = sys.argv[1:]
    os.set_inheritable(int(lifeline), False)
    threading.Thread(target=_end_with, args=(int(lifeline),), daemon=True, name="lifeline").start()
    sys.argv = ["peyda", *arguments]
    runpy.run_module("peyda", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
