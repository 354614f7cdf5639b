#!/usr/bin/env python3
"""Ends npm's wrapper by SIGTERM once a host has answered: `interrupt.py INVOCATION WRAPPER`.

The program behind it has to stop its campaign, write its document, and hand on its status.
"""

import json
import signal
import subprocess
import sys

with open(sys.argv[1], "rb") as step:
    wrapper = subprocess.Popen([sys.argv[2], "--format", "ndjson"], stdin=step, stdout=subprocess.PIPE)
first = json.loads(wrapper.stdout.readline())
wrapper.send_signal(signal.SIGTERM)
*_, last = [first, *map(json.loads, wrapper.stdout)]
assert last.get("cancelled") is True, last
assert wrapper.wait() == 143, wrapper.returncode
