"""The services behind the node: HTTP, also over TLS to known clients only, WebSocket and gRPC. Prints their ports as JSON,
and serves until its input ends. Takes the folder with the certificates."""

import asyncio
import json
import ssl
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import websockets

import echo_pb2
import echo_pb2_grpc

# A server-sent event is sent only after the one before was acknowledged: a proxy that buffers would hang here.
ACKNOWLEDGED = [threading.Event() for _ in range(3)]
# What pages came to.
RESULTS = []


class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, body, content_type="application/json"):
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def echo(self):
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/result":
            RESULTS.append(body)
        seen = {"method": self.command, "path": self.path, "length": len(body), "headers": dict(self.headers.items())}
        if isinstance(self.connection, ssl.SSLSocket):
            subject = dict(pair for (pair,) in self.connection.getpeercert()["subject"])
            seen["client"] = subject["commonName"]
        self.reply(json.dumps(seen).encode())

    def do_GET(self):
        if self.path == "/large":
            self.reply(b"0123456789abcdef" * 65536, "application/octet-stream")
        elif self.path.startswith("/page"):
            self.reply(PAGE, "text/html")
        elif self.path == "/result":
            self.reply(RESULTS.pop() if RESULTS else b"", "text/plain")
        elif self.path == "/events":
            self.events()
        elif self.path.startswith("/acknowledge/"):
            ACKNOWLEDGED[int(self.path.rsplit("/", 1)[1])].set()
            self.reply(b"{}")
        else:
            self.echo()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_QUERY = echo

    def events(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number, acknowledged in enumerate(ACKNOWLEDGED):
            event = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            if not acknowledged.wait(10):
                return  # Without the last chunk: the client sees that it is cut off.
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


PAGE = b"""<!doctype html><title>page</title><script>
const tell = (result) => fetch('/web/result', {method: 'POST', body: result});
(async () => {
  const posted = await (await fetch('/web/echo', {method: 'POST', body: 'x'.repeat(70000)})).json();
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/ws/', 'second');
  socket.binaryType = 'arraybuffer';
  const next = (event, what) => new Promise((resolve, reject) => {
    socket['on' + event] = (came) => resolve(what(came));
    socket.onerror = () => reject(new Error('socket'));
  });
  await next('open', () => 0);
  socket.send('from a browser');
  const heard = await next('message', (message) => message.data);
  const bytes = Uint8Array.from({length: 2 ** 20}, (_, n) => n * n % 251);
  socket.send(bytes);
  const back = new Uint8Array(await next('message', (message) => message.data));
  const same = back.length === bytes.length && back.every((byte, n) => byte === bytes[n]);
  socket.send('close');
  const closed = await next('close', (close) => `${close.code} ${close.reason}`);
  const entry = performance.getEntriesByType('resource').find((entry) => entry.name.endsWith('/web/echo'));
  tell(`posted ${posted.length}, heard ${heard} by ${socket.protocol} and 1 MiB ${same}, closed ${closed}, over ${entry.nextHopProtocol}`);
})().catch((error) => tell(`failed: ${error}`));
</script>
"""


class Echo(echo_pb2_grpc.EchoServicer):
    def Unary(self, request, context):
        context.set_trailing_metadata((("x-trailer", "from the service"),))
        return request

    def Up(self, requests, context):
        return echo_pb2.Message(text=",".join(request.text for request in requests))

    def Down(self, request, context):
        for number in range(int(request.text)):
            yield echo_pb2.Message(text=str(number))

    def Both(self, requests, context):
        for request in requests:
            yield echo_pb2.Message(text=request.text.upper())

    def Fail(self, request, context):
        context.set_trailing_metadata((("x-why", request.text),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as was asked for")


async def sockets(port):
    async def echo(socket):
        async for message in socket:
            if message == "close":
                await socket.close(4001, "as was asked for")
            elif message == "abort":
                socket.transport.abort()
            else:
                await socket.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None, subprotocols=["second"]) as server:
        port.set_result(server.sockets[0].getsockname()[1])
        await asyncio.Future()


def strict(folder):
    """A server that lets in only whom the authority knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/chain.pem", f"{folder}/key.pem")
    context.load_verify_locations(f"{folder}/ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    # The handshake is for the thread of the connection.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None
    return server


def main():
    web = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    known = strict(sys.argv[1])
    for server in (web, known):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    port = futures.Future()
    threading.Thread(target=lambda: asyncio.run(sockets(port)), daemon=True).start()
    rpc = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), rpc)
    rpc_port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    print(json.dumps({"web": web.server_address[1], "strict": known.server_address[1], "ws": port.result(10), "grpc": rpc_port}), flush=True)
    sys.stdin.read()


main()
