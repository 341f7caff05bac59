#!/run/fc/python3 -IS
"""Asks the pipeline to build and check what lies in scripts/, and prints what failed.

It may take as long as a build does. If it is cut off, start it again: it goes on waiting for the
same build, and what was built already is answered at once.
"""

import json
import socket
import sys

answer = None
with socket.socket(socket.AF_UNIX) as host:
    try:
        host.connect("/workspace/.verify.sock")
        for line in host.makefile(encoding="utf-8"):
            if line.startswith("#"):
                # A sign of life, for shell tools end commands that are silent.
                print(line, end="", flush=True)
            else:
                answer = json.loads(line)
    except OSError as error:
        sys.exit(f"the pipeline does not answer: {error}")
if answer is None:
    sys.exit("the pipeline gave no answer; start ./verify again")
print(answer["report"], flush=True)
sys.exit(0 if answer["passed"] else 1)
