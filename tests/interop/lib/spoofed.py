#!/usr/bin/python3
"""usage: spoofed.py INTERFACE MAC RATE MODE

Sends first messages of MODE (main, aggressive, ikev2) to 10.9.0.1 (AES-128, SHA-256, Curve25519; IKEv1: pre-shared key) on INTERFACE, RATE a second,
each with another cookie and one of 50,000 sources out of 11.0.0.0/8, until it is told to stop (SIGTERM).
"""
import os
import random
import signal
import socket
import struct
import sys
import time

US = bytes([10, 9, 0, 1])
ATTRIBUTES = bytes.fromhex("80010007800e008080020004800300018004001f800b0001800c0e10")
COOKIE = 14 + 20 + 8                                             # its place in a frame
FRAMES, PORTION = 50_000, 50


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def payload(following, body):
    return struct.pack("!BBH", following, 0, 4 + len(body)) + body


def message_1(mode):
    """With an empty cookie."""
    if mode == "ikev2":
        return ike_sa_init()
    transform = struct.pack("!BBHBBH", 0, 0, 8 + len(ATTRIBUTES), 1, 1, 0) + ATTRIBUTES
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transform), 1, 1, 0, 1) + transform
    aggressive = mode == "aggressive"
    chain = payload(4 if aggressive else 0, struct.pack("!II", 1, 1) + proposal)
    if aggressive:                                               # KE, NONCE, ID (a name)
        chain += payload(10, os.urandom(32)) + payload(5, os.urandom(16)) + payload(0, b"\x02\0\0\0somebody.example")
    return bytes(16) + struct.pack("!BBBBII", 1, 0x10, 4 if aggressive else 2, 0, 0, 28 + len(chain)) + chain


def ike_sa_init():
    """IKE_SA_INIT with SA, KE and nonce (RFC 7296 §1.2)."""
    def transform(kind, number, last=False, attributes=b""):
        return struct.pack("!BBHBBH", 0 if last else 3, 0, 8 + len(attributes), kind, 0, number) + attributes
    transforms = transform(1, 12, attributes=struct.pack("!HH", 0x800E, 128)) + transform(2, 5) + transform(3, 12) + transform(4, 31, last=True)
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transforms), 1, 1, 0, 4) + transforms
    chain = payload(34, proposal) + payload(40, struct.pack("!HH", 31, 0) + os.urandom(32)) + payload(0, os.urandom(32))
    return bytes(16) + struct.pack("!BBBBII", 33, 0x20, 34, 0x08, 0, 28 + len(chain)) + chain


def packet(source, data):
    udp = struct.pack("!HHHH", 500, 500, 8 + len(data), 0) + data
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source, US)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + udp


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    interface, mac, rate, data = sys.argv[1], sys.argv[2], float(sys.argv[3]), message_1(sys.argv[4])
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((interface, 0))
    head = bytes.fromhex(mac.replace(":", "")) + link.getsockname()[4] + b"\x08\x00"
    frames = [head + packet(bytes([11, *random.randbytes(3)]), data) for _ in range(FRAMES)]
    print("sending", flush=True)
    begun, sent = time.monotonic(), 0
    while not told:
        cookies = os.urandom(8 * PORTION)
        for place in range(0, 8 * PORTION, 8):
            frame = frames[sent % FRAMES]
            link.send(frame[:COOKIE] + cookies[place:place + 8] + frame[COOKIE + 8:])
            sent += 1
        early = begun + sent / rate - time.monotonic()
        if early > 0:
            time.sleep(early)
    print(f"{sent} in {time.monotonic() - begun:.1f} s, {sent / (time.monotonic() - begun):.0f} a second")


main()
