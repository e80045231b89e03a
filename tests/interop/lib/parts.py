"""Parts of a test that run at once, each in a laboratory of its own."""
import threading
import time

from .lab import Lab, LabError


def at_once(r, lab, parts):
    """`parts`: (a short name, what is called with the report and its laboratory). What they returned, of those that came to their end; what did not is a
    failed check. The files of a part that had one are kept."""
    results, errors = [], []

    def part(short, function):
        try:
            with Lab(f"{lab.name}-{short}", tag=f"{lab.tag}-{short[:2]}") as own:
                before, own.failed = r.failed, True
                results.append(function(r, own))
                own.failed = r.failed > before
        except (LabError, OSError) as error:
            errors.append(f"{short}: {error}")
    threads = [threading.Thread(target=part, args=p) for p in parts]
    for thread in threads:
        thread.start()
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    for error in errors:
        r.check(lab.name, False, error)
    return results
