#!/usr/bin/python3
"""IKEv2: `culvert explain` against the fault that was put in: single wrong parameters, in both roles, strongSwan at the other end (lib/explaining.py).

Time limit: 240 s
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import explaining, report  # noqa: E402

report.run("ikev2_explain", lambda r, lab: explaining.body(r, lab, 2))
