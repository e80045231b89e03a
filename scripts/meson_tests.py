#!/usr/bin/python3
"""usage: meson_tests.py BUILD_DIR PATTERN SUMMARY_FILE all|timed|patient : run meson's tests whose name contains PATTERN ('' for all), print a line for each.

timed: those of the suite of this name, which look at the wall's clock; patient: the others. Both may run at the same time.

Counts test cases, not executables: Catch2 says how many ran. An executable that dies, or complains after its last case (a sanitizer at exit),
counts as one failure. The numbers "passed failed skipped" go to SUMMARY_FILE, and a line for each failure after them. Ends 1 only if the tests could not be run at all.
"""
import json
import os
import re
import subprocess
import sys

ALL_PASSED = re.compile(r"All tests passed \(\d+ assertions? in (\d+) test cases?\)")
SOME = re.compile(r"^test cases:\s+(\d+)(?:\s*\|\s*(\d+) passed)?(?:\s*\|\s*(\d+) failed)?", re.M)
FAILED = re.compile(r"^(\S+:\d+): FAILED:|^FAIL +(.+)$", re.M)
NOTE = re.compile(r"^(?:vectors?:|VECTORS|CULVERT_VECTORS|ran \d|seeds?:).*$", re.M)


def count(result, output):
    """(passed, failed) of one executable."""
    whole = ALL_PASSED.search(output)
    some = SOME.search(output)
    if whole:
        return int(whole.group(1)), 0 if result == "OK" else 1
    if some:
        passed, failed = int(some.group(2) or 0), int(some.group(3) or 0)
        return passed, failed if failed or result == "OK" else 1
    return (1, 0) if result == "OK" else (0, 1)


def main():
    if len(sys.argv) != 5 or sys.argv[4] not in ("all", "timed", "patient"):
        sys.exit(__doc__)
    build, pattern, summary, part = sys.argv[1:]
    listed = json.loads(subprocess.run(["meson", "introspect", "--tests", build], check=True, capture_output=True, text=True).stdout)
    of_part = [t for t in listed if part == "all" or (part == "timed") == any(s.split(":")[-1] == "timed" for s in t["suite"])]
    names = [t["name"] for t in of_part if pattern in t["name"] or any(pattern in s for s in t["suite"])]
    total, failures = [0, 0, 0], []
    if names:
        logs = os.path.join(build, "meson-logs", f"testlog-{part}.json")
        if os.path.exists(logs):
            os.remove(logs)
        run = ["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", "--logbase", f"testlog-{part}",
               "--timeout-multiplier", "10", *names]
        outcome = subprocess.run(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if not os.path.exists(logs):
            print(outcome.stdout)
            sys.exit(1)
        with open(logs, encoding="utf-8") as f:
            for line in f:
                test = json.loads(line)
                output = test.get("stdout") or ""
                if test["result"] == "SKIP":
                    total[2] += 1
                    print(f"SKIP {test['name']}: {output.strip().splitlines()[-1] if output.strip() else 'no reason given'}")
                    continue
                passed, failed = count(test["result"], output)
                total[0] += passed
                total[1] += failed
                print(f"{'PASS' if not failed else 'FAIL'} {test['name']:<44} {passed:5} passed {failed:3} failed {test['duration']:7.1f} s")
                for note in NOTE.findall(output)[:20]:
                    print(f"       {note}")
                if failed:
                    failures += [f"{test['name']}: {where or what}" for where, what in FAILED.findall(output) or [(test["result"], "")]]
                    print("\n".join("     | " + l for l in (output + (test.get("stderr") or "")).splitlines()[-60:]))
    elif not pattern:
        print("no tests are registered")
        sys.exit(1)
    with open(summary, "w", encoding="utf-8") as f:
        print(*total, file=f)
        f.writelines(f"{line}\n" for line in failures)


main()
