#!/usr/bin/python3
"""usage: spoofed.py INTERFACE MAC RATE SECONDS

Sends first messages of Main Mode to 10.9.0.1 (AES-128, SHA-256, pre-shared key, Curve25519) on INTERFACE, RATE a second, each with another cookie
and another source out of 11.0.0.0/8.
"""
import os
import random
import socket
import struct
import sys
import time

US = bytes([10, 9, 0, 1])
ATTRIBUTES = bytes.fromhex("80010007800e008080020004800300018004001f800b0001800c0e10")
FRAMES, PORTION = 50_000, 50


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def message_1():
    transform = struct.pack("!BBHBBH", 0, 0, 8 + len(ATTRIBUTES), 1, 1, 0) + ATTRIBUTES
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transform), 1, 1, 0, 1) + transform
    sa = struct.pack("!BBHII", 0, 0, 12 + len(proposal), 1, 1) + proposal
    return os.urandom(8) + bytes(8) + struct.pack("!BBBBII", 1, 0x10, 2, 0, 0, 28 + len(sa)) + sa


def packet(source):
    data = message_1()
    udp = struct.pack("!HHHH", 500, 500, 8 + len(data), 0) + data
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source, US)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + udp


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    interface, mac, rate, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((interface, 0))
    head = bytes.fromhex(mac.replace(":", "")) + link.getsockname()[4] + b"\x08\x00"
    frames = [head + packet(bytes([11, random.randrange(256), random.randrange(256), random.randrange(256)])) for _ in range(FRAMES)]
    print("sending", flush=True)
    begun, sent = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        for _ in range(PORTION):
            link.send(frames[sent % FRAMES])
            sent += 1
        early = begun + sent / rate - time.monotonic()
        if early > 0:
            time.sleep(early)
    print(f"{sent} in {time.monotonic() - begun:.1f} s, {sent / (time.monotonic() - begun):.0f} a second")


main()
