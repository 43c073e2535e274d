#!/usr/bin/env python3
"""Certificates changed under load: 27 times in about 11 s, while clients shake hands anew or keep their connection.

    tests/clients/certificates.py target/release/portico-node

Each answer is checked; one that fails is printed and counted, and the script fails. Needs Python 3 and openssl.
"""

import http.client
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

CERTIFICATES, ROUNDS, PAUSE, CLIENTS = 10, 3, 0.4, 4
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="portico-certificates"))
COUNTS = {"new connections": 0, "kept connections": 0, "failed": 0}
SEEN = set()
LOCK = threading.Lock()
STOP = threading.Event()


def document(number):
    """A certificate of its own, and the configuration that serves with it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        + ["-subj", f"/CN=number {number}", "-addext", "subjectAltName=DNS:localhost"]
        + ["-addext", "extendedKeyUsage=serverAuth", "-keyout", f"key{number}.pem", "-out", f"chain{number}.pem"],
        cwd=FOLDER, check=True, stderr=subprocess.DEVNULL,
    )
    chain = "".join(f"      {line}" for line in (FOLDER / f"chain{number}.pem").open())
    return (
        f"certificates:\n  - name: localhost\n    private_key: {{file: key{number}.pem}}\n    chain: |\n{chain}"
        "routes:\n  - {name: all, respond: {body: hello}}\n"
    )


def put(text):
    (FOLDER / "new").write_text(text)
    os.rename(FOLDER / "new", FOLDER / "node.yaml")


def free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port):
    # Which certificate it is is counted below; that one is right, openssl and the tests of the node see to.
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("localhost", port, context=trust, timeout=5)


def ask(client, kind):
    client.request("GET", "/")
    answer = client.getresponse()
    assert answer.status == 200 and answer.read() == b"hello", answer.status
    with LOCK:
        COUNTS[kind] += 1


def load(port, keep):
    client = None
    while not STOP.is_set():
        try:
            if client is None:
                client = connect(port)
                client.connect()
                SEEN.add(client.sock.getpeercert(True))
            ask(client, "kept connections" if keep else "new connections")
            if not keep:
                client.close()
                client = None
        except Exception as error:
            client = None
            with LOCK:
                COUNTS["failed"] += 1
            print(f"failed: {error!r}")


def main(program):
    documents = [document(number) for number in range(CERTIFICATES)]
    put(documents[0])
    port, status = free(), free()
    node = subprocess.Popen(
        [program, "--config", FOLDER / "node.yaml", "--listen", f"https=https://127.0.0.1:{port}"]
        + ["--status-listen", f"127.0.0.1:{status}", "--access-log", "off", "--shutdown-delay", "0s"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{status}/readyz", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        clients = [threading.Thread(target=load, args=(port, keep)) for keep in [False, True] * CLIENTS]
        for client in clients:
            client.start()
        for number in [*range(1, CERTIFICATES)] * ROUNDS:
            time.sleep(PAUSE)
            put(documents[number])
            node.send_signal(signal.SIGHUP)
        time.sleep(PAUSE)
        STOP.set()
        for client in clients:
            client.join()
    finally:
        STOP.set()
        node.terminate()
        node.wait()
    print(", ".join(f"{count} {what}" for what, count in COUNTS.items()), f"{len(SEEN)} certificates seen", sep=", ")
    sys.exit(COUNTS["failed"] > 0 or len(SEEN) < CERTIFICATES)


if len(sys.argv) != 2:
    sys.exit(__doc__)
main(os.path.abspath(sys.argv[1]))
