#!/usr/bin/python3
"""usage: make_tamper_seeds.py FOLDER: the first inputs of fuzz_tamper, one file each: every scenario with either side as the insider, as it
should go and with a change of one message or two."""
import os
import struct
import sys

V1 = ["main_psk", "main_rsa", "main_ecdsa", "aggressive_psk", "aggressive_rsa", "xauth_pull", "xauth_push", "xauth_aggressive", "xauth_rsa",
      "xauth_hybrid", "mode_config_alone", "main_pfs", "main_pieces", "main_nat", "main_transport"]
V2 = ["v2_psk", "v2_ecdsa", "v2_eap_md5", "v2_eap_mschapv2", "v2_eap_tls", "v2_eap_radius", "v2_rounds", "v2_addresses", "v2_mobike", "v2_resume", "v2_sync",
      "v2_redirect", "v2_more_keys", "v2_ppk", "v2_pieces", "v2_nat", "v2_workers", "v2_transport"]
FLIP, OVERWRITE, INSERT, REMOVE, GROW, DOUBLE, DROP, SWAP, RETYPE, LENGTH, FLAGS, ADD, CUT, INSTEAD, BORROW, HEADER, NUMBER, LAST = range(18)
EVENTS = "cimtzdelasrxCIMTZDELASRX"


def change(message, what, payload=0, at=0, data=b"", unproven=False):
    return struct.pack(">BBBHB", message, what | (0x80 if unproven else 0), payload, at, len(data)) + data


def events(letters):
    return bytes([len(letters)]) + bytes(EVENTS.index(e) for e in letters)


TWICE, LATE, LOSSY = 2, 4, 8


def play(scenario, begins, changes=b"", happens=b"\0", line=0):
    return bytes([(V1 + V2).index(scenario), begins | line]) + happens + changes


SEEDS = {}
for n, name in enumerate(V1 + V2):
    for begins in (0, 1):
        who = name + ("_a" if begins else "_b")
        SEEDS[who] = play(name, begins)
        # Late enough that there are SAs, and not the same in each scenario.
        SEEDS[who + "_changed"] = play(name, begins, change(8 + n % 5, n % 18, 1 + n % 3, 4 + 3 * n, bytes([n, 1, 2])), line=(0, TWICE, LATE, LOSSY)[n % 4])
SEEDS["notify_everything"] = play("v2_psk", 1, change(255, ADD, 1, 0xffff, bytes([41, 0, 0, 0x40, 0x00])))
SEEDS["vendor_everywhere"] = play("main_psk", 1, change(255, ADD, 1, 0xffff, bytes([13]) + bytes(16)))
SEEDS["another_identity"] = play("v2_psk", 1, change(1, OVERWRITE, 0, 4, bytes([10, 9, 0, 77])))
SEEDS["another_identity_v1"] = play("main_psk", 1, change(2, OVERWRITE, 0, 4, bytes([10, 9, 0, 77])))
SEEDS["wrong_proof"] = play("v2_psk", 0, change(1, FLIP, 1, 8, b"\1"))
SEEDS["wrong_proof_v1"] = play("main_psk", 0, change(2, FLIP, 1, 8, b"\1"))
SEEDS["crossing"] = play("v2_psk", 1, change(6, DROP, 1), events("cCiIcCiI"), TWICE | LATE)

os.makedirs(sys.argv[1], exist_ok=True)
for name, data in SEEDS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)
