#!/usr/bin/python3
"""Run as on a gateway's own machine: hugepages, workers that poll, culvertd as a user of its own that nothing else may attach for.

Time limit: 120 s
Runs alone. Row attack-M7 of tests/attacks.txt.
Two Culverts, the first as the README has it for a NIC, but for the NIC: hugepages (reserved here and given back), idle: poll, control.user,
control.group and dataplane.control_user. Its files are in a folder of their own in /run, since that user must reach them.
"""
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Ping, ping  # noqa: E402

USER, GROUP, PAGES = "nobody", "nogroup", 140
COUNT = "/proc/sys/vm/nr_hugepages"


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def reserve_pages(lab):
    """True: there are PAGES more pages of 2 MB. They go back when the test ends."""
    before = int(read(COUNT))

    def write(number):
        with open(COUNT, "w", encoding="ascii") as f:
            f.write(str(number))
    try:
        write(before + PAGES)
    except OSError:                      # a container may not
        return False
    lab.on_exit(lambda: write(before))
    return int(read(COUNT)) >= before + PAGES


def status_of(pid):
    return dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":\t" in line)


def huge_kib(pid):
    return sum(int(line.split()[1]) for line in read(f"/proc/{pid}/smaps").splitlines() if line.startswith(("Private_Hugetlb", "Shared_Hugetlb")))


def own_folder(lab, gw):
    """Sockets and secret of the gateway, where its user can reach them."""
    folder = tempfile.mkdtemp(prefix="culvert-test-", dir="/run")
    lab.on_exit(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.chmod(folder, 0o755)
    account = pwd.getpwnam(USER)
    state = os.path.join(folder, "state")
    os.mkdir(state)
    os.chown(state, account.pw_uid, account.pw_gid)
    secret = os.path.join(folder, "psk")
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write(sites.SECRET + "\n")
    os.chown(secret, account.pw_uid, account.pw_gid)
    gw.config["dataplane"]["socket"] = os.path.join(folder, "dp.sock")
    gw.config["control"]["socket"] = os.path.join(state, "culvertd.sock")
    for connection in gw.config["connections"].values():
        connection["secret"] = f"file:{secret}"
    return folder


def as_user(user, program, folder, *arguments):
    """(exit status, output) of a command as another user: a copy of the program, which may be where that user cannot go."""
    copy = shutil.copy(program, folder)
    done = subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user if user != USER else GROUP}", "--clear-groups", copy, *arguments],
                          capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout + done.stderr


def body(r, lab):
    pages = reserve_pages(lab)
    if not pages:
        r.skip("hugepages", f"this machine gives no {PAGES} pages of 2 MB")
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(gw, letter, peer, start="start" if letter == "a" else "none"))
    a = two.gateway["a"]
    folder = own_folder(lab, a)
    a.config["dataplane"].update(idle="poll", control_user=USER)
    a.config["dataplane"]["memory"]["hugepages"] = pages
    a.config["control"].update(user=USER, group=GROUP)
    a.write()
    two.start()
    wait_for(lambda: ping(two.host["a"], sites.HOST["b"], count=1, wait=0.5)[0], 30, "the first echo")
    if pages:
        r.check("the data plane's memory is hugepages", huge_kib(a.dataplane.pid) >= 64 * 1024, f"{huge_kib(a.dataplane.pid)} KiB")

    control, plane = status_of(a.control.pid), status_of(a.dataplane.pid)
    uid = str(pwd.getpwnam(USER).pw_uid)
    r.check("culvertd has become its user, for good", set(control["Uid"].split()) == {uid}, control["Uid"])
    r.check("culvertd has no capability left", int(control["CapEff"], 16) == 0 and int(control["CapPrm"], 16) == 0, control["CapPrm"])
    r.check("the data plane has no capability left", int(plane["CapEff"], 16) == 0 and int(plane["CapPrm"], 16) == 0, plane["CapPrm"])
    r.check("neither may dump core", all(read(f"/proc/{p.pid}/limits").split("Max core file size")[1].split()[0] == "0" for p in (a.control, a.dataplane)))
    polls = [a.result("counters")["workers"][0]["polls"]]
    time.sleep(1)
    worker = a.result("counters")["workers"][0]
    r.check("its worker polls without pause", worker["polls"] - polls[0] > 20000 and worker["sleeps"] == 0, {k: worker[k] for k in ("polls", "busy_polls", "sleeps")})

    program = a.program("control/culvert")
    socket = a.config["control"]["socket"]
    answered, said = as_user(USER, program, folder, "--socket", socket, "list-conns")
    r.check("a member of control.group is answered", answered == 0 and "to-b" in said, said)
    refused, said = as_user("daemon", program, folder, "--socket", socket, "list-conns")
    r.check("another user is not, and is told so", refused == 3 and "ermission" in said, said)

    stream = Ping(two.host["a"], "ab", sites.HOST["b"])
    a.control.kill()
    time.sleep(1)
    a.start_control()
    wait_for(lambda: a.child_up("to-b", "net"), 20, "the connection after culvertd's return as its user")
    time.sleep(1)
    result = stream.stop()
    r.check("killed and back as that user: no echo lost", not result.lost, result)


report.run("deployment", body)
