#!/usr/bin/python3
"""IKEv2: message-ID synchronisation (RFC 6311) asked of strongSwan 5.9, which answers such requests, and makes none, under IKE SAs that it has begun: to who
begins it does not say that it can. Exchanges go on both ways behind it. Of replay counters it knows nothing.

Time limit: 60 s
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import report, sites  # noqa: E402
from lib.lab import reaches  # noqa: E402
from lib.traffic import ping  # noqa: E402


def synchronised(r, site, role, number):
    culvert, peer = site.culvert, site.strongswan
    sa = culvert.ike_sas("to-b")[-1]
    r.check(f"{role}: message IDs can be set right, sequence numbers cannot", sa["message_id_sync"] is True and sa["replay_counter_sync"] is False, sa["role"])
    r.check("culvert sync-counters begins", reaches(lambda: culvert.cli("sync-counters", "to-b")[0] == 0, 15, "it may"))
    r.check("... and comes to its end", reaches(lambda: culvert.exchange_counts()["counter_sync"] == number, 15, "the end"))
    r.check("... as strongSwan says, too", peer.log_text().count("responder requested MID sync") == number)
    r.check("an echo goes through", reaches(lambda: ping(site.host, sites.INSIDE["b"], sites.HOST["a"], count=1)[0], 15, "an echo"))
    before = culvert.ike_sas("to-b")[-1]["children"][-1]["spi_out"]
    culvert.cli("rekey", "to-b/net")
    r.check("Culvert's next request is taken", reaches(lambda: culvert.ike_sas("to-b")[-1]["children"][-1]["spi_out"] != before, 20, "a new pair"))
    before = culvert.ike_sas("to-b")[-1]["initiator_spi"]
    peer.swanctl("rekey", "--ike", "to-a")
    r.check("... and so is strongSwan's", reaches(lambda: [s["initiator_spi"] for s in culvert.ike_sas("to-b") if s["state"] == "established"] not in ([], [before]), 20, "a new IKE SA"))
    r.check("the new IKE SA can do it, too", culvert.ike_sas("to-b")[-1]["message_id_sync"] is True)


def body(r, lab):
    site = sites.CulvertAndStrongSwan(lab, lambda gw: sites.culvert_connection(gw, "a", "b", version=2), sites.strongswan_connection("b", "a", version=2)).start()
    up, said = site.culvert.initiate("to-b", "net")
    r.check("Culvert connects", up, said)
    sa = site.culvert.ike_sas("to-b")[-1]
    status, said = site.culvert.cli("sync-counters", "to-b")
    r.check("strongSwan does not say that it can, and is not asked", sa["message_id_sync"] is False and status == 1 and "the peer cannot do it" in str(said), said)
    site.culvert.terminate("to-b")
    r.check("it ends", reaches(lambda: not site.culvert.ike_sas("to-b"), 15, "the end"))
    up, said = site.strongswan.initiate("net")
    r.check("strongSwan connects", up, said[-200:])
    synchronised(r, site, "strongSwan has begun", 1)
    synchronised(r, site, "and the rekeyed one", 2)


report.run("ikev2_sync_strongswan", body)
