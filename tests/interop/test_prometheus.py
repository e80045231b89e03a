#!/usr/bin/python3
"""A real Prometheus server scrapes culvertd and answers queries; promtool finds nothing to object to.

Time limit: 90 s
Configured connections and children are there before anything is up, traffic stands under labels that survive a rekey, and no label is an SPI.
"""
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
from lib.traffic import ping  # noqa: E402

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
    for line in text.splitlines():
        if "culvert_child_packets_total" in line or line.startswith("culvert_child_up{"):
            r.note(line)


report.run("prometheus", body)
