#!/usr/bin/python3
"""A real Prometheus server scrapes culvertd and answers queries; promtool finds nothing to object to.

Time limit: 90 s
Configured connections and children are there before anything is up, traffic stands under labels that survive a rekey, and no label is an SPI.
Rows attack-M4 and attack-M6 of tests/attacks.txt: no secret in any answer, metric or log; hundreds of slow clients of the metrics hold up nobody else.
"""
import base64
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites  # noqa: E402
from lib.lab import wait_for  # noqa: E402
from lib.traffic import Ping, ping  # noqa: E402

CONFIG = """global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: culvert
    static_configs: [{targets: ['%s']}]
"""
LISTEN = "127.0.0.1:9190"


def query(namespace, expression):
    """The result vector of an instant query."""
    url = f"http://{LISTEN}/api/v1/query?query={urllib.parse.quote(expression)}"
    text = namespace.sh("curl", "-s", "-m", "5", url, seconds=10, check=False)
    try:
        answer = json.loads(text)
    except ValueError:
        return []
    return answer.get("data", {}).get("result", []) if answer.get("status") == "success" else []
SLOW = """
import socket, sys, time
all = []
for _ in range(300):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", int(sys.argv[1])))
    all.append(s)
time.sleep(1)
for s in all:
    try:
        s.send(b"GET /metrics HTTP/1.1" + bytes([13, 10]) + b"Host: ")
    except OSError:
        pass          # it still waits for its place
print("open", flush=True)
time.sleep(60)
"""


def secrets_stay(r, two):
    """Everything that the two gateways say, debug lines of every message included, has neither the pre-shared key nor a key of an SA."""
    a = two.gateway["a"]
    a.result("debug", "to-b", "--for", "1m")
    a.result("rekey", "to-b", "--ike")
    a.result("rekey", "to-b/net")
    time.sleep(1)
    said = [a.control.output(), a.dataplane.output(), two.inside["a"].sh("curl", "-s", "-m", "10", f"http://{gateway.METRICS}/metrics")]
    for command in (["list-conns"], ["list-sas"], ["counters"], ["explain"], ["explain", "to-b"], ["log", "--level", "debug"], ["debug"]):
        status, answer = a.cli(*command)
        said.append(json.dumps(answer) if status == 0 else "")
    text = "\n".join(said)
    forms = [sites.SECRET, sites.SECRET.encode().hex(), base64.b64encode(sites.SECRET.encode()).decode()]
    r.check("no answer, metric or line of the log has the secret", len(text) > 10_000 and not any(form in text for form in forms), f"{len(text)} characters")


def slow_clients(r, two):
    a = two.gateway["a"]
    flow = Ping(two.host["a"], "beside", sites.HOST["b"], interval=0.02)
    clients = two.inside["a"].start("slow", "/usr/bin/python3", "-c", SLOW, gateway.METRICS.rsplit(":", 1)[1])
    wait_for(lambda: "open" in clients.output() or not clients.alive(), 20, "the slow clients", step=0.2)
    begun = time.monotonic()
    a.result("rekey", "to-b/net")
    connections = a.result("list-conns")["connections"]
    took = time.monotonic() - begun
    r.check("300 slow clients of the metrics: the operator is answered at once", clients.alive() and bool(connections) and took < 2, f"{took:.2f} s")
    time.sleep(1)
    lost = flow.stop()
    clients.stop()
    r.check("and no packet is lost beside them", len(lost.lost) <= 1, lost)
    scraped = lambda: "culvert_" in two.inside["a"].sh("curl", "-s", "-m", "5", f"http://{gateway.METRICS}/metrics", check=False)
    wait_for(scraped, 20, "the metrics after them", step=0.5)
    r.check("when they are gone, the metrics are there again", True)


def body(r, lab):
    two = sites.TwoCulverts(lab, lambda gw, letter, peer: sites.culvert_connection(gw, letter, peer)).start()
    a = two.gateway["a"]
    text = two.inside["a"].sh("curl", "-s", "-m", "10", f"http://{gateway.METRICS}/metrics")
    children = [line for line in text.splitlines() if 'connection="to-b"' in line and 'child="net"' in line and not line.startswith("#")]
    r.check("connection and child have their metrics before they are up", bool(children), children[0] if children else text[:300])

    config = lab.write("prometheus.yml", CONFIG % gateway.METRICS)
    data = os.path.join(lab.dir, "prometheus-data")
    server = two.inside["a"].start("prometheus", "prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={LISTEN}")
    ok, detail = a.initiate("to-b", "net")
    r.check("the tunnel is up", ok, "" if ok else detail)
    ping(two.host["a"], sites.HOST["b"], count=10, interval=0.05)
    a.result("rekey", "to-b/net")
    time.sleep(1)
    ping(two.host["a"], sites.HOST["b"], count=10, interval=0.05)

    wait_for(lambda: query(two.inside["a"], 'up{job="culvert"} == 1') or not server.alive(), 30, "Prometheus to scrape culvertd", step=0.5)
    r.check("Prometheus scrapes culvertd", server.alive() and query(two.inside["a"], 'up{job="culvert"}')[0]["value"][1] == "1")
    packets = 'sum by (direction) (culvert_child_packets_total{connection="to-b",child="net"})'
    enough = lambda: len([v for v in query(two.inside["a"], packets) if float(v["value"][1]) >= 20]) == 2
    try:
        wait_for(enough, 15, "20 packets each way")
    finally:
        shown = {v["metric"].get("direction"): v["value"][1] for v in query(two.inside["a"], packets)}
    r.check("a query counts the packets of both directions, over the rekey", enough(), shown)
    exchanges = query(two.inside["a"], 'culvert_ike_exchanges_total{exchange="quick_mode",reason="ok"} > 1')
    r.check("a query counts the exchanges", bool(exchanges), [v["metric"] for v in exchanges][:1])

    text = two.inside["a"].sh("curl", "-s", "-m", "10", f"http://{gateway.METRICS}/metrics")
    check = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=30)
    r.check("promtool check metrics is clean", check.returncode == 0 and not (check.stdout + check.stderr).strip(), (check.stdout + check.stderr).strip()[:600])
    names = sorted({re.match(r"[a-z_0-9]+", line).group(0) for line in text.splitlines() if line and not line.startswith("#")})
    r.check("every metric is ours or its library's own", all(n.startswith(("culvert_", "exposer_")) for n in names), f"{len(names)} names")
    spis = {c["spi_in"] for c in a.child_sas() if "spi_in" in c} | {c["spi_out"] for c in a.child_sas()}
    r.check("no label is an SPI", not any(spi in text for spi in spis))
    secrets_stay(r, two)
    slow_clients(r, two)
    for line in text.splitlines():
        if "culvert_child_packets_total" in line or line.startswith("culvert_child_up{"):
            r.note(line)


report.run("prometheus", body)
