#!/usr/bin/python3
"""CHILD SAs for one worker each (RFC 9611, per_cpu_sas), against strongSwan 5.9, which knows nothing of them and takes several CHILD SAs, both roles; and two Culverts.

Time limit: 180 s
Culvert has two workers, and beside the CHILD SA for all one for each of them, whoever begins; tshark must read SA_RESOURCE_INFO in the decrypted requests. Many flows go through:
each must keep to one SA and stay in order, each worker's SA must carry some, and strongSwan count the packets under it. All are rekeyed, ended, and made anew behind a
culvertd that was killed. Of two Culverts one has three workers and the other two and a limit of two: both have two, the third worker's flows go by the one for all, and
TS_MAX_QUEUE is sent once, to either side.

    host a 10.1.0.10 -- in0 [Culvert, 2 workers] gw0 10.9.0.1 ---- wire ---- 10.9.0.2 cl0 [strongSwan], 10.2.0.1 on its lo
"""
import collections
import struct
import sys

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, ikev2, keys, report, sites  # noqa: E402
from lib.lab import Lab, wait_for  # noqa: E402
from lib.traffic import Capture, ping, tshark  # noqa: E402

NAME, FLOWS, EACH, PORT = "to-b", 40, 20, 20000
CREATE, RESPONSE, RESOURCE_INFO = 36, 0x20, 16444
SEND = """
import socket, struct, sys, time
flows = []
for n in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", int(sys.argv[4]) + n))
    flows.append(s)
for number in range(int(sys.argv[3])):
    for s in flows:
        s.sendto(struct.pack("!I", number) + bytes(100), (sys.argv[1], 9))
    time.sleep(0.05)
"""


def workers(count):
    available = gateway.cpus()
    return [available[n % len(available)] for n in range(count)]


def send(host, target):
    """Flows of numbered packets, by turns, and not faster than strongSwan takes them from its socket."""
    host.sh("/usr/bin/python3", "-c", SEND, target, str(FLOWS), str(EACH), str(PORT), seconds=60)


def by_worker(gw, name=NAME):
    """{worker, or None: the one for all: [pairs that are installed]}"""
    found = collections.defaultdict(list)
    for c in gw.child_sas(name, states=("installed",)):
        found[c.get("worker", "orphan")].append(c)
    return found


def settled(gw, counts, name=NAME):
    """Whether each has so many, all sent by."""
    found = by_worker(gw, name)
    return {w: len(all_) for w, all_ in found.items()} == counts and all(c["in"] and c["out"] for all_ in found.values() for c in all_)


def alike(site):
    """'', or how the two lists differ."""
    here, there = ikev2.in_use(site.culvert, NAME), ikev2.in_use_there(site.strongswan, NAME)
    return "" if here == there else f"here {ikev2.spis(here)}, there {ikev2.spis(there)}"


def flows_of(pcap, log):
    """{flow: [(SPI, number), ...]} as they came, of the numbered packets in a capture of ESP."""
    known, found = keys.esp_keys(log), collections.defaultdict(list)
    for _, _, _, esp in keys.esp_packets(pcap):
        inner = keys.decrypt(esp, known)
        if inner and inner[9] == 17 and struct.unpack_from("!H", inner, 22)[0] == 9:
            found[struct.unpack_from("!H", inner, 20)[0]].append((struct.unpack_from("!I", esp)[0], struct.unpack_from("!I", inner, 28)[0]))
    return found


def resources(lab, pcap, log):
    """What N(SA_RESOURCE_INFO) in the CREATE_CHILD_SA requests of the capture says, as tshark decrypts them."""
    spis = [line.split("\t") for line in tshark(lab, pcap, "-Y", f"isakmp.exchangetype == 34 && isakmp.flag_r == 1", "-T", "fields", "-e", "isakmp.ispi", "-e", "isakmp.rspi").splitlines()]
    options = []
    for (i, r), k in zip(spis, keys.ikev2_keys(log)):
        options += ["-o", f'uat:ikev2_decryption_table:{i},{r},{k["ei"]},{k["er"]},"AES-CBC-256 [RFC3602]",{k["ai"]},{k["ar"]},"HMAC_SHA2_256_128 [RFC4868]"']
    text = tshark(lab, pcap, *options, "-Y", f"isakmp.exchangetype == {CREATE} && isakmp.flag_r == 0 && isakmp.notify.msgtype == {RESOURCE_INFO}", "-T", "fields",
                  "-e", "isakmp.messageid", "-e", "isakmp.notify.data")
    return sorted({tuple(line.split("\t")) for line in text.splitlines()})


def with_strongswan(r, lab):
    child = {"per_cpu_sas": "yes"}
    site = sites.CulvertAndStrongSwan(lab, lambda gw: sites.culvert_connection(gw, "a", "b", version=2, child_settings=child),
                                      {NAME: sites.strongswan_connection("b", "a", version=2)["to-a"]}, keys=True, dataplane={"workers": workers(2)})
    site.start()
    all_three = {None: 1, 0: 1, 1: 1}
    wire = Capture(site.outside, "cl0", "negotiation", "udp")
    ok, text = site.culvert.initiate(NAME, "net")
    r.check("Culvert initiates: up", ok, str(text)[-300:])
    wait_for(lambda: settled(site.culvert, all_three) and not alike(site), 60, "a CHILD SA for each worker")
    wire.stop()
    r.check("strongSwan has the one for all and one for each worker", alike(site) == "" and len(ikev2.in_use(site.culvert, NAME)[1]) == 3, alike(site))
    told = resources(lab, wire.file, site.strongswan.log_text())
    r.check("tshark reads SA_RESOURCE_INFO in both requests, with the worker's number", [data for _, data in told] == ["00000000", "00000001"], told)
    flows(r, site, lab)
    before = ikev2.in_use(site.culvert, NAME)[1]
    site.culvert.cli("rekey", f"{NAME}/net")
    wait_for(lambda: not before & ikev2.in_use(site.culvert, NAME)[1] and settled(site.culvert, all_three) and not alike(site), 60, "the rekeying of all three")
    r.check("all are rekeyed, and each worker keeps one", alike(site) == "" and settled(site.culvert, all_three), alike(site))
    r.check("... and echoes go through", *ping(site.host, sites.INSIDE["b"], count=2))
    site.culvert.control.kill()
    site.culvert.start_control()
    wait_for(lambda: settled(site.culvert, all_three) and not alike(site) and not any(c["adopted"] for c in site.culvert.child_sas(NAME)), 120, "a CHILD SA for each worker anew")
    r.check("a culvertd that was killed comes back: all three are made anew", alike(site) == "" and len(ikev2.in_use(site.culvert, NAME)[1]) == 3, alike(site))
    flows(r, site, lab, "restarted")
    site.culvert.terminate(NAME, "net")
    wait_for(lambda: not site.culvert.child_sas(NAME) and not site.strongswan.child_sas(NAME), 60, "the end of all")
    r.check("an operator ends the child: all go, on both sides", not site.strongswan.child_sas(NAME))
    site.culvert.terminate(NAME)
    wait_for(lambda: not ikev2.their_sas(site.strongswan, NAME), 60, "the end of the IKE SA")
    ok, text = site.strongswan.initiate("net")
    r.check("strongSwan initiates: up", ok, text[-300:])
    wait_for(lambda: settled(site.culvert, all_three) and not alike(site), 60, "a CHILD SA for each worker")
    r.check("Culvert asks for one for each worker beside strongSwan's", alike(site) == "" and len(ikev2.in_use(site.culvert, NAME)[1]) == 3, alike(site))
    r.check("... and echoes go through, as strongSwan initiates", *ping(site.host, sites.INSIDE["b"], count=2))


def flows(r, site, lab, when="first"):
    """Many flows: each worker's go by its own SA alone."""
    wire = Capture(site.outside, "cl0", f"flows-{when}", "esp or udp port 4500")
    own = {int(c["spi_out"], 16): w for w, all_ in by_worker(site.culvert).items() for c in all_}
    counted = lambda: {int(c["spi-in"], 16): int(c["packets-in"]) for c in site.strongswan.child_sas(NAME)}
    sent = lambda: {int(c["spi_out"], 16): c["out"]["packets"] for c in site.culvert.child_sas(NAME, states=("installed",))}
    before, sent_before = counted(), sent()
    send(site.host, sites.INSIDE["b"])
    wait_for(lambda: all(counted()[spi] > before[spi] for spi, n in sent().items() if n > sent_before[spi]), 30, "strongSwan to have taken in the flows")
    after, sent_after = counted(), sent()
    wire.stop()
    seen = flows_of(wire.file, site.strongswan.log_text())
    used = {port: {spi for spi, _ in packets} for port, packets in seen.items()}
    r.check(f"{when}: each flow keeps to one SA", len(seen) == FLOWS and all(len(s) == 1 for s in used.values()), {p: s for p, s in used.items() if len(s) != 1})
    r.check(f"{when}: ... in order", all(b > a for packets in seen.values() for (_, a), (_, b) in zip(packets, packets[1:])), len(seen))
    carried = collections.Counter(own.get(next(iter(s))) for s in used.values())
    r.check(f"{when}: each worker's SA carries flows, the one for all none", set(carried) == {0, 1}, carried)
    ours, theirs = ({own[spi]: end[spi] - begin[spi] for spi in own} for begin, end in ((sent_before, sent_after), (before, after)))
    r.check(f"{when}: strongSwan counts packets under each worker's, and none under the one for all", theirs[None] == 0 == ours[None] and 0 < theirs[0] <= ours[0] and 0 < theirs[1] <= ours[1], (ours, theirs))


def lines(gw, what):
    return [line for line in gw.log().splitlines() if what in line]


def two_culverts(r, lab):
    def configure(gw, letter, peer):
        limit = {} if letter == "a" else {"per_cpu_sas_limit": 2}
        return sites.culvert_connection(gw, letter, peer, version=2, child_settings={"per_cpu_sas": "yes", **limit})
    two = sites.TwoCulverts(lab, configure)
    for letter, count in (("a", 3), ("b", 2)):
        two.gateway[letter].config["dataplane"]["workers"] = workers(count)
        two.gateway[letter].write()
    two.start()
    a, b = two.gateway["a"], two.gateway["b"]
    a.result("debug", "to-b", "--for", "10m")
    b.result("debug", "to-a", "--for", "10m")
    for first, name, role in ((a, "to-b", "the one with more workers"), (b, "to-a", "the one with the limit")):
        refusals = len(lines(b, "per_cpu_sas_limit"))
        captures = [Capture(two.inside[letter], "gw0", f"two-{letter}-{name}", "udp") for letter in "ab"]
        ok, text = first.initiate(name, "net")
        r.check(f"two Culverts, {role} initiates: up", ok, str(text)[-300:])
        wait_for(lambda: settled(a, {None: 1, 0: 1, 1: 1}) and settled(b, {None: 1, 0: 1, 1: 1}, "to-a") and len(lines(b, "per_cpu_sas_limit")) > refusals, 60, "two CHILD SAs, and the refusal of a third")
        for capture in captures:
            capture.stop()
        asked = [line for c in captures for line in tshark(lab, c.file, "-Y", f"isakmp.exchangetype == {CREATE}", "-T", "fields", "-e", "isakmp.messageid", "-e", "isakmp.flag_r").splitlines()]
        r.check(f"... {role}: three CREATE_CHILD_SA, each answered", len(set(asked)) >= 4 and sum(line.endswith(("0", "False")) for line in asked) == 3, asked)
        r.check(f"... {role}: SA_RESOURCE_INFO is asked and answered, and the third one refused with TS_MAX_QUEUE",
                len(lines(a, "N (SA_RESOURCE_INFO")) >= 6 and len(lines(a, "in, decrypted: N (TS_MAX_QUEUE)")) == refusals + 1, lines(a, "TS_MAX_QUEUE"))
        for gw, host, target in ((a, two.host["a"], sites.HOST["b"]), (b, two.host["b"], sites.HOST["a"])):
            r.check(f"... {role}: echoes go through to {target}", *ping(host, target, count=2))
            of = "to-b" if gw is a else "to-a"
            before = {w: all_[0]["out"]["packets"] for w, all_ in by_worker(gw, of).items()}
            send(host, target)
            got = lambda: {w: all_[0]["out"]["packets"] - before[w] for w, all_ in by_worker(gw, of).items()}
            wait_for(lambda: sum(got().values()) >= FLOWS * EACH, 30, "the flows to be sent")
            carried = got()
            r.check(f"... {role}: flows to {target} go by all SAs of workers, others by the one for all", carried[0] > 0 and carried[1] > 0 and (carried[None] > EACH) == (gw is a), carried)
        metric = a.metric("culvert_child_packets_total", connection="to-b", child="net", direction="out")
        r.check(f"... {role}: the child's packets are counted in one", metric >= FLOWS * EACH, metric)
        first.terminate(name)
        gone = lambda gw, of: not gw.child_sas(of) and all(sa["state"] == "deleting" for sa in gw.ike_sas(of))
        wait_for(lambda: gone(a, "to-b") and gone(b, "to-a"), 60, "the end of all")


def body(r, lab):
    with_strongswan(r, lab)
    with Lab("ikev2-per-worker-two", tag=f"{lab.tag}-two") as other:
        two_culverts(r, other)


report.run("ikev2-per-worker", body)
