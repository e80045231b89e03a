"""What a test says: checks, tables, and the closing line "N passed, N failed" that run.py reads. Prints; owns no laboratory."""
import sys
import traceback

from .lab import Lab, LabError


class Report:
    def __init__(self, name):
        self.name, self.passed, self.failed, self.skipped = name, 0, 0, 0

    def check(self, what, ok, detail=""):
        """Counts and prints one check; returns `ok`."""
        if ok:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'PASS' if ok else 'FAIL'} {what}{': ' + str(detail) if detail != '' else ''}", flush=True)
        return ok

    def skip(self, what, why):
        self.skipped += 1
        print(f"SKIP {what}: {why}", flush=True)

    def note(self, text):
        print(f"     {text}", flush=True)

    def table(self, header, rows):
        """A table with columns as wide as their content."""
        rows = [[str(cell) for cell in row] for row in rows]
        widths = [max(len(str(cell)) for cell in column) for column in zip(header, *rows)]
        for row in (header, *rows):
            print("     " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
        sys.stdout.flush()

    def end(self):
        if self.skipped:
            print(f"{self.skipped} skipped")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


def run(name, body):
    """Runs body(report, lab) in a laboratory of its own; an exception is one failed check. Never returns."""
    report = Report(name)
    try:
        with Lab(name) as lab:
            try:
                body(report, lab)
            except LabError as error:
                report.check(f"{name}: the laboratory works", False, error)
            except Exception:  # pylint: disable=broad-except
                traceback.print_exc(file=sys.stdout)
                report.check(f"{name}: the test itself works", False)
            lab.failed = report.failed > 0
        if lab.verdicts:
            report.check("in = out + drops by reason, in every data plane that has ended", True, f"{len(lab.verdicts)} started")
    except KeyboardInterrupt as interrupt:
        report.check(f"{name}: runs to its end", False, interrupt or "interrupted")
    except LabError as error:
        report.check(f"{name}: the laboratory starts and ends", False, error)
    report.end()
