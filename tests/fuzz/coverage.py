"""usage: coverage.py REPORT FILE...     the share of the lines of each FILE that were reached, from `llvm-cov export -summary-only`; 1 if it is below 95 % in all"""
import json
import os
import sys

WANTED = 95.0

report, files = sys.argv[1], sys.argv[2:]
with open(report, encoding="utf-8") as f:
    found = {entry["filename"]: entry["summary"]["lines"] for entry in json.load(f)["data"][0]["files"]}
known = {os.path.realpath(name): lines for name, lines in found.items()}
missing = [name for name in files if os.path.realpath(name) not in known]
if missing:
    sys.exit(f"coverage: no line of these was compiled into a fuzz target: {' '.join(missing)}")
rows = [(name, known[os.path.realpath(name)]) for name in files]
for name, lines in sorted(rows, key=lambda row: row[1]["percent"]):
    print(f"{lines['percent']:6.1f} %  {lines['covered']:5} of {lines['count']:5}  {os.path.relpath(name)}")
covered, count = sum(lines["covered"] for _, lines in rows), sum(lines["count"] for _, lines in rows)
share = 100 * covered / count
print(f"{share:6.1f} %  {covered:5} of {count:5}  lines of the parsers, {WANTED:g} % wanted")
sys.exit(share < WANTED)
