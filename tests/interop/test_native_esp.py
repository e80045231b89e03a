#!/usr/bin/python3
"""Native ESP (protocol 50) against the Linux kernel: strongSwan in a User Mode Linux guest, without a NAT and so without UDP.

Time limit: 300 s
Each ESP suite in both roles with pings of 56, 1,000 and 1,372 bytes both ways; the same in UDP by `encap: true`; replayed packets; delay,
loss and reordering by netem; rekeying by either side under load; packets larger than the path. The kernel's counters of each SA, Culvert's, and captures on both sides of
the gateway must agree, and tshark, with the kernel's keys, must be able to read and authenticate every packet.

    host 10.1.0.10 -- in0 [Culvert] gw0 10.9.0.1 ---- wire ---- vec0 10.9.0.2 [Linux guest], 10.2.1.1, 10.2.2.1, ... on its lo
"""
import collections
import re
import socket
import struct
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lib import gateway, inject, keys, report, sites, strongswan, uml  # noqa: E402
from lib.lab import LabError, wait_for  # noqa: E402
from lib.traffic import Capture, Ping, tshark  # noqa: E402

LISTED = {  # what strongSwan must list for each suite: cipher, key bits, integrity, group
    "aes128gcm16": ("AES_GCM_16", "128", None, None), "aes256gcm16": ("AES_GCM_16", "256", None, None),
    "aes128-sha1": ("AES_CBC", "128", "HMAC_SHA1_96", None), "aes256-sha1": ("AES_CBC", "256", "HMAC_SHA1_96", None),
    "aes128-sha256": ("AES_CBC", "128", "HMAC_SHA2_256_128", None), "aes256-sha256": ("AES_CBC", "256", "HMAC_SHA2_256_128", None),
    "aes128gcm16-ecp256": ("AES_GCM_16", "128", None, "ECP_256"), "aes256-sha256-modp2048": ("AES_CBC", "256", "HMAC_SHA2_256_128", "MODP_2048")}
SUITES = list(LISTED)
OURS, THEIRS, FORCED = "rekeyed-by-culvert", "rekeyed-by-linux", "in-udp"
NUMBER = {name: n for n, name in enumerate([*SUITES, OURS, THEIRS, FORCED], 1)}     # child name's net behind the guest: 10.2.NUMBER.0/24
LISTED[FORCED] = LISTED[SUITES[0]]
SIZES, COUNT = (56, 1000, 1372), 3
LARGE = (1473, 4000, 8000)
REKEY_EVERY, REKEY_FOR = 5, 16                   # seconds
NETEM, NETEM_PINGS = "delay 20ms 5ms loss 2% reorder 25%", 500
CONNECTION, CULVERT, LINUX, LINUX_UDP = "to-b", sites.ADDRESS["a"], sites.ADDRESS["b"], "10.9.1.1"
HOST, WINDOW = sites.HOST["a"], 64
TSHARK_SUITE = {"rfc4106(gcm(aes))": "AES-GCM with 16 octet ICV [RFC4106]", "cbc(aes)": "AES-CBC [RFC3602]",
                "hmac(sha1)": "HMAC-SHA-1-96 [RFC2404]", "hmac(sha256)": "HMAC-SHA-256-128 [RFC4868]"}
Esp = collections.namedtuple("Esp", "frame spi sequence source")


class Site:
    """Host, Culvert, guest and strongSwan; the captures on both sides of Culvert; the keys of every SA that the guest's kernel has had."""

    def __init__(self, lab):
        self.lab, self.keys = lab, {}
        self.host, self.inside = sites.host_and_gateway(lab, "a")
        self.outside = lab.namespace("peer")
        lab.link(self.inside, "gw0", None, self.outside, "peer0", "")
        self.guest = uml.Guest(lab, self.outside, "linux", ["peer0"])
        self.culvert = sites.culvert(lab, self.inside, "a", ["b"])
        self.culvert.config["connections"] = self._connections()
        self.culvert.write()
        self.strongswan = strongswan.StrongSwan(lab, self.guest, "strongswan", self._peer_connections(), sites.SECRET,
                                                kernel="kernel-netlink", keys=True)

    def _connections(self):
        children = {suite: gateway.child(sites.NET["a"], f"10.2.{NUMBER[suite]}.0/24", suite, replay_window=WINDOW) for suite in SUITES}
        for name, seconds in ((OURS, REKEY_EVERY), (THEIRS, 3600)):
            children[name] = gateway.child(sites.NET["a"], f"10.2.{NUMBER[name]}.0/24", "aes128gcm16", rekey_time=f"{seconds}s",
                                           life_time=f"{4 * seconds}s", rand_time="0s")
        secret, ours = self.culvert.secret(sites.SECRET), sites.IDENTITY["a"]
        forced = {FORCED: gateway.child(sites.NET["a"], f"10.2.{NUMBER[FORCED]}.0/24", SUITES[0])}
        return {CONNECTION: gateway.connection(CULVERT, LINUX, ours, sites.IDENTITY["b"], sites.IKE_SUITE, secret, children),
                FORCED: gateway.connection(CULVERT, LINUX_UDP, ours, "udp.example", sites.IKE_SUITE, secret, forced, encap=True)}

    @staticmethod
    def _peer_connections():
        children = {suite: strongswan.child(f"10.2.{NUMBER[suite]}.0/24", sites.NET["a"], suite) for suite in SUITES}
        for name, seconds in ((OURS, 3600), (THEIRS, REKEY_EVERY)):
            children[name] = strongswan.child(f"10.2.{NUMBER[name]}.0/24", sites.NET["a"], "aes128gcm16", rekey_time=f"{seconds}s",
                                              life_time=f"{4 * seconds}s", rand_time="0s")
        forced = {FORCED: strongswan.child(f"10.2.{NUMBER[FORCED]}.0/24", sites.NET["a"], SUITES[0])}
        return {CONNECTION: strongswan.connection(LINUX, CULVERT, sites.IDENTITY["b"], sites.IDENTITY["a"], sites.IKE_SUITE, children),
                FORCED: strongswan.connection(LINUX_UDP, CULVERT, "udp.example", sites.IDENTITY["a"], sites.IKE_SUITE, forced)}

    def start(self):
        self.guest.power_on()
        self.culvert.start()
        self.guest.ready()
        self.guest.address("vec0", f"{LINUX}/16", f"{LINUX_UDP}/16")
        self.guest.address("lo", *(f"10.2.{n}.1/32" for n in NUMBER.values()))
        self.guest.route("default", CULVERT)
        self.wire = Capture(self.outside, "peer0", "wire")
        self.inner = Capture(self.host, "h0", "inner", "icmp")
        self.strongswan.start()
        return self

    def states(self):
        """The kernel's SAs by SPI; their keys are remembered."""
        found = {state["spi"]: state for state in self.guest.xfrm_states()}
        self.keys |= {spi: (s["source"], s["destination"], s["algorithms"]) for spi, s in found.items()}
        return found

    def children(self):
        """strongSwan's list: {child: its newest installed SA}."""
        return {c["name"]: c for c in self.strongswan.child_sas() if c["state"] == "INSTALLED"}

    def esp(self):
        """All ESP packets on the wire until now."""
        found = []
        for _, frame in keys.frames(self.wire.file):
            if frame[12:14] == b"\x08\x00" and frame[23] == 50:
                found.append(Esp(frame, *struct.unpack_from("!II", frame, 34), socket.inet_ntoa(frame[26:30])))
        return found

    def clear_requests(self):
        """Echo requests for the host that it has been given until now."""
        return sum(1 for e in keys.clear_echoes(self.inner.file) if e.kind == "request" and e.target == socket.inet_aton(HOST))


def pings(where, pairs):
    """All at once: [(key, source, target)] -> {key: {size: (sent, received)}}. `where`: the host's namespace or the guest. After the last
    echo, ping waits for no longer than its interval, which must be long for a guest that gets little of the processor."""
    lines = [f'{{ echo "{key} {size} $(ping -n -q -c {COUNT} -i 0.8 -W 5 -s {size} -I {source} {target} | grep transmitted)"; }} &'
             for key, source, target in pairs for size in SIZES]
    text = where.sh("bash", "-c", "\n".join(lines) + "\nwait", seconds=60)
    found = {key: {} for key, _, _ in pairs}
    for key, size, sent, received in re.findall(r"^(\S+) (\d+) (\d+) packets transmitted, (\d+) received", text, re.M):
        found[key][int(size)] = int(sent), int(received)
    return found


def establish(r, site, role, children):
    """{child: '' or what failed}"""
    failed = {}
    for name in children:
        ok, detail = site.culvert.initiate(FORCED if name == FORCED else CONNECTION, name) if role == "Culvert" else site.strongswan.initiate(name)
        failed[name] = "" if ok else f"not established: {str(detail).strip()[-200:]}"
    time.sleep(0.5)          # a responder installs its SAs when it has read the third message
    return failed


def compare(site, name, states, listed):
    """'' or how the kernel, strongSwan and Culvert disagree about an SA pair that has carried the pings both ways, and nothing else."""
    expected = 2 * len(SIZES) * COUNT
    if name not in listed:
        return "strongSwan does not list it as installed"
    sa = listed[name]
    agreed = tuple(sa.get(key) for key in ("encr-alg", "encr-keysize", "integ-alg", "dh-group"))
    if agreed != LISTED[name]:
        return f"strongSwan lists {agreed}, not {LISTED[name]}"
    for direction in "in", "out":
        state = states.get(int(sa[f"spi-{direction}"], 16))
        if state is None:
            return f"the kernel has no SA {direction}"
        if state["packets"] != expected or state["failed"] or state["replayed"] or state["window"]:
            return (f"the kernel's SA {direction}: {state['packets']} packets instead of {expected}, "
                    f"{state['failed']} failed, {state['replayed']} replayed")
    ours = [c for c in site.culvert.child_sas() if c["child"] == name and c["state"] == "installed"]
    same = [(c["encap"], c["spi_in"], c["spi_out"]) for c in ours]
    if same != [("udp" if name == FORCED else "native", sa["spi-out"], sa["spi-in"])]:
        return f"Culvert lists {same}, strongSwan in {sa['spi-in']} out {sa['spi-out']}"
    if (ours[0]["in"]["packets"], ours[0]["out"]["packets"]) != (expected, expected):
        return f"Culvert counts {ours[0]['in']['packets']} packets in and {ours[0]['out']['packets']} out instead of {expected}"
    return ""


def suites(r, site, role):
    """Establishes all suites as children of one ISAKMP SA, and one in UDP; pings, compares. Returns {suite: cell of the table}."""
    everything = [*SUITES, FORCED]
    failed = establish(r, site, role, everything)
    names = [name for name in everything if not failed[name]]
    there = pings(site.host, [(n, HOST, f"10.2.{NUMBER[n]}.1") for n in names])
    back = pings(site.guest, [(n, f"10.2.{NUMBER[n]}.1", HOST) for n in names])
    states, listed = site.states(), site.children()
    result = {}
    for name in everything:
        detail = failed[name]
        if not detail:
            lost = [f"{way} {size}: {got}/{sent}" for way, found in (("out", there[name]), ("in", back[name]))
                    for size in SIZES for sent, got in [found.get(size, (COUNT, 0))] if got != sent]
            detail = f"pings lost ({', '.join(lost)})" if lost else compare(site, name, states, listed)
        result[name] = "/".join(map(str, SIZES)) + " ok" if not detail else "FAIL"
        r.check(f"{name}, {role} initiates: pings of {', '.join(map(str, SIZES))} bytes both ways, and all counters agree", not detail, detail)
    errors = site.guest.xfrm_errors()
    errors.pop("XfrmAcquireError", None)             # what the guest sends before it has an SA
    r.check(f"{role} initiates: the kernel's IPsec refused nothing", not errors, errors or "")
    return result


def replay(r, site):
    """What the guest sent is sent once more by somebody on the wire."""
    current = set(site.states())
    packets = [p for p in site.esp() if p.source == LINUX and p.spi in current]
    drops, requests = site.culvert.drops(), site.clear_requests()
    received = sum(c["in"]["packets"] for c in site.culvert.child_sas(CONNECTION))
    inject.resend(site.outside, "peer0", [p.frame for p in packets])
    time.sleep(1)
    now = site.culvert.drops()
    changed = {reason: now[reason] - drops[reason] for reason in now if now[reason] != drops[reason]}
    r.check("every replayed packet is counted as esp_replay, and nowhere else", len(packets) > 0 and changed == {"esp_replay": len(packets)},
            f"{len(packets)} replayed, {changed}")
    r.check("no replayed packet was delivered or counted as traffic", site.clear_requests() == requests
            and sum(c["in"]["packets"] for c in site.culvert.child_sas(CONNECTION)) == received)
    again = pings(site.host, [(n, HOST, f"10.2.{NUMBER[n]}.1") for n in SUITES])
    r.check("traffic goes on after the replay", all(again[n].get(s) == (COUNT, COUNT) for n in SUITES for s in SIZES))


def bad_line(r, site):
    """What netem did not lose, Culvert must deliver, in whatever order it comes."""
    name, begin = SUITES[0], len(site.esp())
    drops, requests = site.culvert.drops(), site.clear_requests()
    site.guest.netem(NETEM)
    text = site.guest.sh("bash", "-c", f"ping -n -q -c {NETEM_PINGS} -i 0.004 -W 1 -I 10.2.{NUMBER[name]}.1 {HOST}; true", seconds=40)
    _, dropped = site.guest.netem_counts()
    site.guest.netem("")
    time.sleep(0.5)
    received = int(re.search(r"(\d+) received", text).group(1))
    carried = site.esp()[begin:]
    arrived, returned = ([p.sequence for p in carried if p.source == source] for source in (LINUX, CULVERT))
    depth = [max(arrived[:i + 1]) - n for i, n in enumerate(arrived)]
    now = site.culvert.drops()
    changed = {reason: now[reason] - drops[reason] for reason in now if now[reason] != drops[reason]}
    delivered = site.clear_requests() - requests
    r.note(f"netem {NETEM}: {NETEM_PINGS} echoes sent, {dropped} packets dropped by it, {len(arrived)} arrived, "
           f"{sum(d > 0 for d in depth)} of them late, by up to {max(depth, default=0)}; {received} answered")
    r.check("netem lost and reordered packets", dropped > 0 and max(depth, default=0) > 0 and len(arrived) < NETEM_PINGS)
    r.check("Culvert delivered every packet that netem did not lose, and every answer left it", len(arrived) == delivered == len(returned),
            f"{len(arrived)} arrived, {delivered} delivered, {len(returned)} answers")
    r.check("the anti-replay window refused none of them", not changed, changed or "")


def rekeys(r, site):
    """Both sides rekey a child of their own under load; whatever is lost must have left Culvert intact, or never have come back."""
    failed = establish(r, site, "Culvert", (OURS, THEIRS))
    for name, detail in failed.items():
        if detail:
            raise LabError(f"{name}: {detail}")
    begin, drops, errors = len(site.esp()), site.culvert.drops(), collections.Counter(site.guest.xfrm_errors())
    flows = {name: Ping(site.host, name, f"10.2.{NUMBER[name]}.1", source=HOST) for name in (OURS, THEIRS)}
    end = time.monotonic() + REKEY_FOR
    while time.monotonic() < end:
        site.states()                                 # for the keys
        time.sleep(1)
    results = {name: flow.stop() for name, flow in flows.items()}
    time.sleep(0.5)
    site.states()
    now, late = site.culvert.drops(), collections.Counter(site.guest.xfrm_errors()) - errors
    changed = {reason: now[reason] - drops[reason] for reason in now if now[reason] != drops[reason]}
    carried = site.esp()[begin:]
    out, back = ([p for p in carried if p.source == source] for source in (CULVERT, LINUX))
    answered, under_way = (sum(getattr(result, what) for result in results.values()) for what in ("received", "under_way"))
    sent, lost = sum(result.transmitted for result in results.values()), sum(len(result.lost) for result in results.values())
    for name, result in results.items():
        spis = len({p.spi for p in out}) - 2
        r.check(f"{name}: pings every {result.interval:.1f} ms over the rekeys", result.transmitted > REKEY_FOR * 50, result)
    r.check("both sides rekeyed", spis >= 2 * ((REKEY_FOR - 1) // REKEY_EVERY), f"{spis} times in {REKEY_FOR} s, with the kernel as the peer")
    r.check("every echo request left Culvert", len(out) == sent + under_way, f"{sent} sent, {under_way} under way at the end, {len(out)} ESP packets")
    r.check("every reply that came back came out of Culvert", 0 <= len(back) - answered <= under_way, f"{len(back)} ESP packets, {answered} answers")
    r.check("Culvert dropped nothing over the rekeys", not changed, changed or "")
    r.check("each lost echo is one that the kernel counted as lost between two SAs of its own", lost <= sum(late.values())
            and not set(late) - {"XfrmInNoStates", "XfrmAcquireError"}, f"{lost} lost of {sent}, kernel: {dict(late)}")


def ended(r, site, side):
    """Ends the ISAKMP SA on one side; nothing may stay on either."""
    for name in CONNECTION, FORCED:
        site.culvert.terminate(name) if side == "Culvert" else site.strongswan.terminate(name)
    def left():
        known = [sa for sa in site.culvert.ike_sas() if sa["state"] != "deleting"]     # remembered for a while, to answer for it
        return len(site.guest.xfrm_states()), len(known), len(site.culvert.child_sas())
    try:
        wait_for(lambda: not any(left()), 8, "the end of all SAs", step=0.3)
    except LabError:
        pass
    r.check(f"{side} ends the connection: no SA is left on either side", not any(left()),
            "kernel {}, Culvert {} ISAKMP and {} pairs".format(*left()))


def large(r, site):
    """Beyond the MTU: Culvert fragments before the encryption, the kernel after it, an ESP packet for each large one of its own."""
    names = (SUITES[0], SUITES[3], FORCED)
    failed = establish(r, site, "Culvert", names)
    for name, detail in failed.items():
        if detail:
            raise LabError(f"{name}: {detail}")
    drops, wire = site.culvert.drops(), Capture(site.outside, "peer0", "large", "ip[6:2] & 0x3fff != 0")
    lost = []
    for name in names:
        for where, source, target in (site.host, HOST, f"10.2.{NUMBER[name]}.1"), (site.guest, f"10.2.{NUMBER[name]}.1", HOST):
            for size in LARGE:
                text = where.sh("bash", "-c", f"ping -n -q -c 2 -i 0.3 -W 5 -M dont -s {size} -I {source} {target}; true", seconds=30)
                if " 0% packet loss" not in text:
                    lost.append((name, source, size))
    r.check(f"pings of {', '.join(map(str, LARGE))} bytes both ways, native and in UDP", not lost, lost or "")
    wire.stop()
    pieces = collections.Counter((frame[23], socket.inet_ntoa(frame[26:30])) for _, frame in keys.frames(wire.file))
    r.check("the kernel's large packets came as IP fragments of ESP and of UDP, and Culvert sent none",
            pieces[50, LINUX] > 0 and pieces[17, LINUX_UDP] > 0 and not any(source == CULVERT for _, source in pieces), dict(pieces))
    now = site.culvert.drops()
    changed = {reason: now[reason] - drops[reason] for reason in now if now[reason] != drops[reason]}
    r.check("Culvert put all of them together, and dropped nothing", not changed, changed or "")


def what_is(protocol, port, esp, forced):
    """A packet's name in the table; "other ..." if it should not be there."""
    if not protocol:
        return "ARP"
    if protocol == "50" and not forced:
        return "ESP"
    if protocol == "17" and forced and port == "4500" and esp:
        return "ESP in UDP"
    return "IKE" if protocol == "17" and (port == "500" or (forced and port == "4500")) else f"other protocol {protocol} {port}"


def remember(site, logged):
    """Adds the keys of rekeyed SAs that came and went between two looks at the kernel: strongSwan's log has them, two for each pair."""
    for _, source, target, esp in keys.esp_packets(site.wire.file):
        spi = struct.unpack_from("!I", esp)[0]
        for key in logged.get(spi, ()) if spi not in site.keys else ():
            if len(key) in (20, 36) and keys.decrypt(esp, {spi: [key]}):
                site.keys[spi] = socket.inet_ntoa(source), socket.inet_ntoa(target), {"aead": ("rfc4106(gcm(aes))", f"0x{key.hex()}")}


def judge(r, site):
    """tshark reads the whole capture, with the kernel's keys."""
    def rows(table, lines, quote):
        return [word for cells in lines for word in ("-o", f"uat:{table}:" + ",".join(quote + cell + quote for cell in cells))]
    sas, log = [], site.strongswan.log_text()
    remember(site, keys.esp_keys(log))
    for spi, (source, target, algorithms) in site.keys.items():
        cipher, key = algorithms.get("aead") or algorithms["enc"]
        integrity, secret = algorithms.get("auth-trunc", ("", ""))
        sas.append(["IPv4", source, target, f"0x{spi:08x}", TSHARK_SUITE[cipher], key, TSHARK_SUITE.get(integrity, "NULL"), secret])
    decode = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "esp.enable_encryption_decode:TRUE",
              "-o", "esp.enable_authentication_check:TRUE", *rows("esp_sa", sas, '"'),
              *rows("ikev1_decryption_table", keys.ike_keys(log).items(), "")]   # hex numbers, which take no quotes
    capture = site.lab.path("wire-without-repeats.pcap")
    r.note(f"{keys.without_repeats(site.wire.file, capture)} IKE messages were sent more than once")
    counts = collections.Counter()
    fields = ("ip.proto", "udp.dstport", "ip.addr", "esp.spi", "icmp.type", "esp.icv_good", "esp.icv_bad", "_ws.malformed",
              "_ws.expert.severity", "ip.checksum.status")
    text = tshark(site.lab, capture, *decode, "-T", "fields", *(word for field in fields for word in ("-e", field)))
    for line in text.splitlines():
        protocol, port, addresses, spi, echo, good, bad, malformed, severity, checksum = line.split("\t")
        counts[what_is(protocol.split(",")[0], port, bool(spi), LINUX_UDP in addresses.split(",")[:2])] += 1
        counts["inner ICMP"] += bool(spi and echo)
        counts["authentic"] += good in ("1", "True")
        counts["not authentic"] += bad in ("1", "True")
        counts["malformed"] += bool(malformed)
        counts["expert error"] += "8388608" in severity.split(",")
        counts["wrong IP checksum"] += "0" in checksum.split(",")
    r.note("the wire: " + ", ".join(f"{number} {what}" for what, number in counts.items() if number))
    others = {what: number for what, number in counts.items() if what.startswith("other") and number}
    r.check("the wire carried ESP (protocol 50), IKE (UDP 500) and, where forced, both in UDP 4500, and nothing else",
            all(counts[what] > 0 for what in ("ESP", "IKE", "ESP in UDP")) and not others, others or "")
    for what in "malformed", "expert error", "wrong IP checksum", "not authentic":
        r.check(f"tshark finds no packet {what}" if what != "expert error" else "tshark finds no expert error", not counts[what], counts[what] or "")
    r.check("tshark authenticated every ESP packet and found an echo in it",
            counts["ESP"] + counts["ESP in UDP"] == counts["authentic"] == counts["inner ICMP"],
            f"{counts['ESP']} packets, {counts['ESP in UDP']} in UDP, {counts['authentic']} authentic, {counts['inner ICMP']} with an echo")


def body(r, lab):
    if uml.why_not():
        r.skip("native ESP against the Linux kernel", uml.why_not())
        return
    begun = time.monotonic()
    site = Site(lab).start()
    r.note(f"the guest (Linux {site.guest.sh('uname', '-r').strip()}) and the gateway are up after {time.monotonic() - begun:.1f} s")
    first = suites(r, site, "Culvert")
    ended(r, site, "Culvert")
    second = suites(r, site, "Linux")
    r.table(["ESP suite", "Culvert initiates", "Linux initiates"], [[name, first[name], second[name]] for name in first])
    for part in replay, bad_line, rekeys:
        part(r, site)
    ended(r, site, "Linux")
    lost = site.wire.stop() + site.inner.stop()
    r.check("both captures are whole", lost == 0, f"{lost} packets lost by tcpdump")
    judge(r, site)
    large(r, site)
    r.note(f"done after {time.monotonic() - begun:.0f} s")


report.run("native_esp", body)
