"""Fresh scons processes without the time that importing SCons takes: one process that forks for each.

Reads lines of JSON {directory, arguments, environment, output} and answers each with the exit status.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import SCons.Script


def run(order: dict[str, Any]) -> None:
    os.chdir(order["directory"])
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["scons", *order["arguments"]]
    SCons.Script.main()


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(json.loads(line))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
