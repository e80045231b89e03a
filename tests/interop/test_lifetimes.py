#!/usr/bin/python3
"""Lifetimes with strongSwan: by kilobytes, ours and theirs, and in seconds, each end with its own.

Time limit: 120 s
Three tunnels at once between one Culvert and one strongSwan. In one Culvert replaces the pair after 300 kB, in another one strongSwan does after 3 MB;
in the third one Culvert ends pairs after 20 s and says so (RESPONDER-LIFETIME) to a strongSwan that would keep them for an hour; of its ISAKMP SA
it says that, too. Each carries pings that no change of keys may lose.
"""
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, report, sites, strongswan  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Ping  # noqa: E402

LONG = {"rekey_time": "1h", "life_time": "2h"}
# name: (Culvert's limits, strongSwan's, bytes of a ping, least number of rekeyings)
CASES = {"ours-bytes": ({**LONG, "rekey_bytes": "300KB", "life_bytes": "900KB"}, LONG, 1000, 3),
         "theirs-bytes": (LONG, {**LONG, "rekey_bytes": 3_000_000, "life_bytes": 4_000_000}, 1300, 1),
         "ours-seconds": ({"rekey_time": "12s", "life_time": "20s", "rand_time": "0s"}, LONG, 56, 1)}
SECONDS = 26


def body(r, lab):
    numbers = {name: n for n, name in enumerate(CASES, 1)}

    def ours(gw):
        return {name: gateway.connection(sites.ADDRESS["a"], f"10.9.1.{n}", sites.IDENTITY["a"], f"{name}.example", sites.IKE_SUITE, gw.secret(sites.SECRET),
                                         {"net": gateway.child(f"10.1.{n}.0/24", f"10.2.{n}.0/24", sites.ESP_SUITE, **CASES[name][0])},
                                         **({"rekey_time": "1h"} if name == "ours-seconds" else {})) for name, n in numbers.items()}

    theirs = {name: strongswan.connection(f"10.9.1.{n}", sites.ADDRESS["a"], f"{name}.example", sites.IDENTITY["a"], sites.IKE_SUITE,
                                          {name: strongswan.child(f"10.2.{n}.0/24", f"10.1.{n}.0/24", sites.ESP_SUITE, **CASES[name][1])}) for name, n in numbers.items()}
    site = sites.CulvertAndStrongSwan(lab, ours, theirs)
    site.number(numbers.values())
    site.start()
    flows = {}
    for name, n in numbers.items():
        ok, detail = site.strongswan.initiate(name)
        r.check(f"{name}: establishes", ok, "" if ok else detail[-300:])
    time.sleep(0.5)
    for name, n in numbers.items():
        flows[name] = Ping(site.host, name, f"10.2.{n}.1", source=f"10.1.{n}.10", interval=0.006, size=CASES[name][2])
    time.sleep(SECONDS)
    for name, flow in flows.items():
        result = flow.stop()
        changes = sum("Pair of IPsec SAs rekeyed" in line and name in line for line in site.culvert.log().splitlines())
        r.check(f"{name}: keys were changed in time", changes >= CASES[name][3], f"{changes} times, {result}")
        r.check(f"{name}: no echo was lost, or one or two to strongSwan's switch", len(result.lost) <= 2 * changes, f"{len(result.lost)} lost: {result.lost[:10]}")
        in_use = lambda: [p["state"] for p in site.culvert.child_sas(name)].count("installed")
        try:                                          # what the peer has replaced and does not delete, we do after 10 s
            few = wait_for(lambda: 1 <= in_use() <= 2, 15, "what was replaced to go", step=0.2)
        except LabError:
            few = False
        r.check(f"{name}: one pair is in use", few and site.culvert.child_up(name, "net"), in_use())
    told = [line for line in site.strongswan.log_text().splitlines() if "QUICK_MODE response" in line and "24576" in line]
    r.check("strongSwan reads RESPONDER-LIFETIME (24576) in message 2 of Quick Mode", told, told[:1] or "not in its log")
    told = [line for line in site.strongswan.log_text().splitlines() if "ID_PROT response" in line and "24576" in line]
    r.check("... and, of the one ISAKMP SA that ends here before it would there, in message 6 of Main Mode", len(told) == 1, told[:2] or "not in its log")
    said = site.culvert.drops().get("esp_expired", 0)
    r.check("no packet met a dead SA", said == 0, f"{said} packets")


report.run("lifetimes", body)
