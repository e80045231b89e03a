#!/usr/bin/python3
"""usage: tests/interop/run.py [--build DIR] [--build-asan DIR] [--only PATTERN] [--part plain|asan] [--keep] [--summary FILE] [--jobs N] [--list]

Runs the tests against real peers: every tests/interop/test_*.py, each in a process and network namespaces of its own, with a time limit.
Each may be run alone, too: /usr/bin/python3 tests/interop/test_suites.py. A test's head says "Time limit: N s"; "Runs alone", if it must not share
the machine with others; "Mostly waits", if it may run beside all --jobs of them; "Needs build-asan", if it runs the sanitizer build (--part asan are these, --part plain are the others). Prints each test's output when it has ended. Needs root.
"""
import argparse
import glob
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib.lab import sweep  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GRACE = 30              # seconds that a test has to clear up after its time limit


class Test:
    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)[len("test_"):-len(".py")]
        with open(path, encoding="utf-8") as f:
            head = f.read(4000)
        self.limit = int(re.search(r"Time limit: (\d+) s", head).group(1))
        self.alone, self.idle = "Runs alone" in head, "Mostly waits" in head
        self.part = "asan" if "Needs build-asan" in head else "plain"
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def run(self, environment):
        tag = os.urandom(3).hex()
        started = time.monotonic()
        process = subprocess.Popen(["/usr/bin/python3", "-u", self.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, errors="replace", env={**environment, "CULVERT_LAB_TAG": tag}, start_new_session=True)
        over = False
        try:
            text, _ = process.communicate(timeout=self.limit)
        except subprocess.TimeoutExpired:
            over = True
            process.send_signal(signal.SIGTERM)
            try:
                text, _ = process.communicate(timeout=GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                text, _ = process.communicate()
        seconds = time.monotonic() - started
        verdict = re.findall(r"^(\d+) passed, (\d+) failed$", text, re.M)
        skipped = re.findall(r"^(\d+) skipped$", text, re.M)
        self.passed, self.failed = map(int, verdict[-1]) if verdict else (0, 1)
        self.skipped = int(skipped[-1]) if skipped else 0
        if over:
            self.failed += 1
            text += f"\nFAIL {self.name}: not finished within {self.limit} s\n"
        elif process.returncode != 0 and not self.failed:
            self.failed += 1
            text += f"\nFAIL {self.name}: ended with {process.returncode}\n"
        self.failures = [f"{self.name}: {line[:400]}" for line in re.findall(r"^FAIL (.*)$", text, re.M)]
        for line in sweep(tag):
            text += f"\nnote: {line}"
        return f"---- {self.name}: {self.passed} passed, {self.failed} failed, {seconds:.0f} s\n{text.rstrip()}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--build-asan", default=os.path.join(ROOT, "build-asan"))
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--summary")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--part", choices=("plain", "asan"))
    options = parser.parse_args()
    tests = [Test(path) for path in sorted(glob.glob(os.path.join(HERE, "test_*.py")))]
    tests = [t for t in tests if options.only in t.name and options.part in (None, t.part)]
    if options.list:
        for test in tests:
            print(f"{test.name:<16} time limit {test.limit} s{', alone' if test.alone else ''}")
        return 0
    keep = os.path.join(options.build, "interop")
    environment = {**os.environ, "CULVERT_BUILD": options.build, "CULVERT_BUILD_ASAN": options.build_asan, "CULVERT_LAB_KEEP": keep}
    if options.keep:
        environment["CULVERT_LAB_KEEP_ALL"] = "1"
    shared = sorted((t for t in tests if not t.alone), key=lambda t: -t.limit)
    waiting, idle = [t for t in shared if not t.idle], [t for t in shared if t.idle]
    lock, output = threading.Lock(), threading.Lock()

    def one(test):
        text = test.run(environment)
        with output:
            print(text, flush=True)

    def worker(queue):
        while True:
            with lock:
                if not queue:
                    return
                test = queue.pop(0)
            one(test)

    threads = [threading.Thread(target=worker, args=(queue,)) for queue in [waiting] * max(1, options.jobs) + [idle]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for test in tests:
        if test.alone:
            one(test)
    print("== summary of the tests against real peers")
    for test in tests:
        print(f"{'PASS' if not test.failed else 'FAIL'} {test.name:<16} {test.passed:4} passed {test.failed:3} failed"
              + (f" {test.skipped} skipped" if test.skipped else ""))
    total = [sum(t.passed for t in tests), sum(t.failed for t in tests), sum(t.skipped for t in tests)]
    if options.summary:
        with open(options.summary, "w", encoding="utf-8") as f:
            print(*total, file=f)
            f.writelines(f"{line}\n" for test in tests for line in test.failures)
    print(f"{total[0]} passed, {total[1]} failed")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
