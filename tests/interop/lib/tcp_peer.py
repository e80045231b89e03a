#!/usr/bin/python3
"""usage: tcp_peer.py serve ADDRESS | ask ADDRESS SOURCE BYTES : one TCP connection that carries BYTES each way, one way after the other.

The side that asks sends, then hears the sum of what has arrived and as many bytes; each must come through whole. Prints the rates in Mbit/s
as JSON, {"out": .., "in": ..}. Ends with 1 and says why if it cannot. The side that serves goes on until it is stopped.
"""
import hashlib
import json
import random
import socket
import sys
import time

PORT = 5300
SUM = 32          # bytes of SHA-256


def receive(connection, count):
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(65536, count - len(data)))
        if not part:
            raise OSError(f"ended after {len(data)} of {count} bytes")
        data += part
    return bytes(data)


def serve(address):
    listener = socket.create_server((address, PORT))
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                count = int.from_bytes(receive(connection, 4), "big")
                data = receive(connection, count)
                connection.sendall(hashlib.sha256(data).digest() + data[::-1])
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)
            except OSError as e:
                print(f"tcp_peer: {e}", file=sys.stderr, flush=True)


def ask(address, source, count):
    data = random.Random(count).randbytes(count)
    with socket.create_connection((address, PORT), timeout=40, source_address=(source, 0)) as connection:
        begun = time.monotonic()
        connection.sendall(count.to_bytes(4, "big") + data)
        arrived = receive(connection, SUM)
        turned = time.monotonic()
        back = receive(connection, count)
        ended = time.monotonic()
    if arrived != hashlib.sha256(data).digest() or back != data[::-1]:
        raise OSError("the bytes are not those that were sent")
    print(json.dumps({"out": round(count * 8e-6 / max(turned - begun, 1e-6), 2), "in": round(count * 8e-6 / max(ended - turned, 1e-6), 2)}))


try:
    serve(sys.argv[2]) if sys.argv[1] == "serve" else ask(sys.argv[2], sys.argv[3], int(sys.argv[4]))
except OSError as error:
    sys.exit(f"tcp_peer: {error}")
