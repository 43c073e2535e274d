"""Load on one address: connections kept alive, each sending one request after the other, that check every answer.

A connection is given up only when the answer says `Connection: close`; one that breaks without having said so is a
failure, also between two requests. So nothing that a client of a gateway could notice goes uncounted.
"""

import collections
import http.client
import json
import socket
import threading
import time

# How long an answer may take, from connecting on.
PATIENCE = 15.0


class Failed(Exception):
    """A request that was not answered as it should be; the text is its kind."""


class Connection:
    """One connection, opened when it is first used; by TLS where it is said who is trusted."""

    def __init__(self, address, trust=None):
        self.address = address
        self.trust = trust
        self.http = None

    def send(self, method, target, body=None, headers=()):
        """Sends a request; returns status, headers and body."""
        step = "on a used connection" if self.http else "on a new connection"
        try:
            if self.http is None:
                secure = self.trust and http.client.HTTPSConnection(*self.address, timeout=PATIENCE, context=self.trust)
                self.http = secure or http.client.HTTPConnection(*self.address, timeout=PATIENCE)
                self.http.connect()
            self.http.request(method, target, body=body, headers=dict(headers))
            answer = self.http.getresponse()
            step = "in the answer"
            content = answer.read()
            if answer.will_close:
                self.close()
            return answer.status, answer.headers, content
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Failed(f"{kind_of(error)} {step}") from error

    def close(self):
        if self.http:
            self.http.close()
        self.http = None


def kind_of(error):
    """What a client calls it."""
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (http.client.RemoteDisconnected, http.client.IncompleteRead)):
        return "closed"
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "reset"
    if isinstance(error, socket.timeout):
        return f"no answer in {PATIENCE:.0f} s"
    return type(error).__name__


class Load:
    """Clients in threads of their own. Failures are counted by the phase in which the request began."""

    def __init__(self, address, connections, pause):
        self.address = address
        self.pause = pause
        self.phase = None
        self.lock = threading.Lock()
        self.phases = {}
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(number,), daemon=True) for number in range(connections)]

    def start(self, phase):
        self.enter(phase)
        for thread in self.threads:
            thread.start()

    def enter(self, phase):
        """From now on requests count for this phase; returns the one before."""
        with self.lock:
            before, self.phase = self.phase, Phase(phase)
        return before

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()
        return self.phase

    def client(self, number):
        connection = Connection(self.address)
        turn = 0
        while not self.ending.is_set():
            turn += 1
            phase = self.phase
            began = time.monotonic()
            try:
                self.ask(connection, number, turn)
                kind = None
            except Failed as failed:
                kind = str(failed)
                connection.close()
            phase.count(number, kind, time.monotonic() - began)
            # Clients come and go, so that a node that comes back gets its share.
            if turn % 50 == 0:
                connection.close()
            # Who refuses everything is not hammered.
            time.sleep(self.pause if kind is None else max(self.pause, 0.05))
        connection.close()

    def ask(self, connection, number, turn):
        # One in four is under way for a while: it is those that a restart can hurt.
        delay = "&delay=150ms" if turn % 4 == 0 else ""
        target = f"/echo?n={number}.{turn}{delay}"
        # One in three has a body.
        method, body = ("POST", b"x" * 2000) if turn % 3 == 0 else ("GET", None)
        status, _, content = connection.send(method, target, body)
        if status != 200:
            raise Failed(f"status {status}: {reason(content)}")
        try:
            seen = json.loads(content)
        except ValueError:
            raise Failed("an answer that is not JSON") from None
        if seen.get("target") != target or seen.get("method") != method:
            raise Failed("the answer to another request")


def reason(content):
    """What a problem says of itself."""
    try:
        problem = json.loads(content)
        return str(problem.get("reason") or problem.get("title"))
    except (ValueError, AttributeError):
        return "no problem document"


class Phase:
    """What came of the requests of one phase."""

    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.requests = 0
        self.slowest = 0.0
        self.kinds = collections.Counter()
        self.clients = collections.Counter()

    def count(self, client, kind, lasted):
        with self.lock:
            self.requests += 1
            self.slowest = max(self.slowest, lasted)
            if kind:
                self.kinds[kind] += 1
                self.clients[client] += 1

    @property
    def failed(self):
        return sum(self.kinds.values())

    def __str__(self):
        lasted = time.monotonic() - self.began
        text = f"{self.requests} requests in {lasted:.0f} s, slowest {self.slowest * 1000:.0f} ms, {self.failed} failed"
        kinds = ", ".join(f"{count} × {kind}" for kind, count in self.kinds.most_common())
        return f"{text} ({kinds})" if kinds else text
