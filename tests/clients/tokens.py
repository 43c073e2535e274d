#!/usr/bin/env python3
"""Tokens made by other people's libraries, through one real node.

    tests/clients/tokens.py PROGRAM      PROGRAM is a portico-node

joserfc and PyJWT each sign a token by every algorithm. The keys reach the node as a JWK Set of a server, as PEM and as a
secret. What is signed by the wrong key, or as an attacker would, has to be refused.
"""

import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import jwt as pyjwt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwk, jwt

RSA = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
HMAC = ["HS256", "HS384", "HS512"]
KEYS = {
    **{alg: jwk.RSAKey.generate_key(2048, {"kid": "rsa"}) for alg in RSA[:1]},
    "ES256": jwk.ECKey.generate_key("P-256", {"kid": "p256"}),
    "ES384": jwk.ECKey.generate_key("P-384", {"kid": "p384"}),
    "ES512": jwk.ECKey.generate_key("P-521", {"kid": "p521"}),
    "EdDSA": jwk.OKPKey.generate_key("Ed25519", {"kid": "ed"}),
}
for alg in RSA[1:]:
    KEYS[alg] = KEYS["RS256"]
SECRET = "a secret of both sides, long enough for each of the three: 64 bytes."
PUBLIC = list(KEYS)
SET = {"keys": [key.as_dict(private=False) for key in {id(key): key for key in KEYS.values()}.values()]}
PEM = "".join(key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
              for key in {id(key): key for key in KEYS.values()}.values())


class KeyServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(SET).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def claims(issuer):
    return {"iss": issuer, "aud": ["api"], "sub": "ann", "exp": int(time.time()) + 60, "realm": {"roles": ["read"]}}


def by_joserfc(alg, issuer):
    key = jwk.OctKey.import_key(SECRET) if alg in HMAC else KEYS[alg]
    header = {"alg": alg} if alg in HMAC else {"alg": alg, "kid": key.kid}
    return jwt.encode(header, claims(issuer), key, algorithms=[alg])


def by_pyjwt(alg, issuer):
    if alg in HMAC:
        return pyjwt.encode(claims(issuer), SECRET, algorithm=alg)
    key = KEYS[alg]
    private = key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pyjwt.encode(claims(issuer), private, algorithm=alg, headers={"kid": key.kid})


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header, issuer, secret):
    signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims(issuer)).encode())}"
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), KeyServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configuration = {"routes": [{
        "name": "api", "match": {"path": {"exact": "/"}}, "respond": {"body": "in"},
        "policies": [{"jwt": {
            "issuers": [
                {"issuer": "url", "audiences": ["api"], "algorithms": PUBLIC,
                 "keys": {"jwks_url": f"http://127.0.0.1:{server.server_port}/keys"}},
                {"issuer": "pem", "audiences": ["api"], "algorithms": PUBLIC, "keys": {"pem": PEM}},
                {"issuer": "secret", "audiences": ["api"], "algorithms": HMAC, "keys": {"secret": {"value": SECRET}}},
            ],
            "required_claims": [{"claim": "realm.roles", "values": ["read"]}],
        }}],
    }]}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "portico.json")
        path.write_text(json.dumps(configuration))
        port, status = free(), free()
        node = subprocess.Popen([
            sys.argv[1], "--config", str(path), "--listen", f"http=127.0.0.1:{port}", "--fetch-allow", "127.0.0.1/32",
            "--status-listen", f"127.0.0.1:{status}", "--access-log", "off", "--shutdown-delay", "0s",
        ])
        try:
            sys.exit(run(port, status))
        finally:
            node.terminate()
            node.wait()


def run(port, status):
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{status}/readyz").close()
            break
        except OSError:
            time.sleep(0.1)

    def ask(token):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request) as response:
                return str(response.status)
        except urllib.error.HTTPError as error:
            return f"{error.code} {json.load(error).get('reason')}"

    failed = 0

    def check(what, seen, expected):
        nonlocal failed
        if seen == expected:
            print(f"ok    {what}: {seen}")
        else:
            failed = 1
            print(f"WRONG {what}: {seen}, not {expected}")

    for library, sign in [("joserfc", by_joserfc), ("PyJWT", by_pyjwt)]:
        for alg in PUBLIC:
            for issuer in ["url", "pem"]:
                check(f"{library}, {alg}, keys by {issuer}", ask(sign(alg, issuer)), "200")
        for alg in HMAC:
            check(f"{library}, {alg}", ask(sign(alg, "secret")), "200")
            check(f"{library}, {alg}, as of the others", ask(sign(alg, "url")), "401 token_algorithm")
        check(f"{library}, RS256 by another issuer's name", ask(sign("RS256", "secret")), "401 token_algorithm")
    for secret in [PEM.encode(), PEM.split("-----END")[0].encode(), json.dumps(SET).encode()]:
        token = forged({"alg": "HS256", "kid": "rsa"}, "pem", secret)
        check("a public key as a secret", ask(token), "401 token_algorithm")
    check("no algorithm", ask(forged({"alg": "none"}, "pem", b"").rsplit(".", 1)[0] + "."), "401 token_algorithm")
    print("some tokens went wrong" if failed else "all tokens passed")
    return failed


main()
