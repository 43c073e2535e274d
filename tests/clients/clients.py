"""Python's clients: httpx, websockets and grpcio. Arguments: the http port, the https port, the authority's file."""

import asyncio
import os
import ssl
import sys

import grpc
import httpx
import websockets

import echo_pb2
import echo_pb2_grpc

HTTP, HTTPS, AUTHORITY = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
TRUST = ssl.create_default_context(cafile=AUTHORITY)
FAILED = []


def check(what, seen, expected):
    if seen == expected:
        print(f"ok    {what}: {seen!r}")
    else:
        FAILED.append(what)
        print(f"WRONG {what}: {seen!r}, not {expected!r}")


def with_httpx(version, base):
    with httpx.Client(http2=version == "HTTP/2", http1=version == "HTTP/1.1", verify=TRUST, timeout=20) as client:
        name = f"httpx {version} {base.split(':')[0]}"
        answer = client.get(f"{base}/web/echo?a=1")
        check(f"{name} GET", (answer.http_version, answer.json()["path"]), (version, "/echo?a=1"))
        check(f"{name} POST 1 MiB", client.post(f"{base}/web/echo", content=b"x" * 2**20).json()["length"], 2**20)
        pieces = (b"y" * 1000 for _ in range(100))
        check(f"{name} POST of unknown length", client.post(f"{base}/web/echo", content=pieces).json()["length"], 100_000)
        check(f"{name} GET 1 MiB", len(client.get(f"{base}/web/large").content), 2**20)
        check(f"{name} HEAD", client.head(f"{base}/web/large").content, b"")
        check(f"{name} no route", client.get(f"{base}/none").json()["reason"], "no_route")


def events(base, http2):
    with httpx.Client(http2=http2, verify=TRUST, timeout=20) as client:
        heard = []
        with client.stream("GET", f"{base}/web/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    heard.append(line[6:])
                    client.get(f"{base}/web/acknowledge/{line[6:]}")
        check("server-sent events, each before the next is sent", heard, ["0", "1", "2"])


async def with_websockets(base, trust):
    name = f"websockets {base.split(':')[0]}"
    offer = {"ssl": trust, "max_size": None, "subprotocols": ["first", "second"]}
    connect = lambda **more: websockets.connect(f"{base}/ws/", **offer, **more)
    for compression in (None, "deflate"):
        async with connect(compression=compression) as socket:
            check(f"{name} subprotocol", socket.subprotocol, "second")
            await socket.send("hello")
            check(f"{name} text", await socket.recv(), "hello")
            binary = os.urandom(2**20)
            await socket.send(binary)
            check(f"{name} 1 MiB, the same", await socket.recv() == binary, True)
            await socket.send("x" * 3_000_000)
            check(f"{name} 3 MB of text", len(await socket.recv()), 3_000_000)
            check(f"{name} ping", await (await socket.ping()) < 10, True)
        check(f"{name} closed in order", (socket.close_code, socket.close_reason), (1000, ""))
    async with connect() as socket:
        await socket.close(4000, "the client wants it")
        check(f"{name} closed by the client", (socket.close_code, socket.close_reason), (4000, "the client wants it"))
    async with connect() as socket:
        await socket.send("close")
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            check(f"{name} closed by the server", (closed.rcvd.code, closed.rcvd.reason), (4001, "as was asked for"))
    async with connect() as socket:
        await socket.send("abort")
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            check(f"{name} cut off by the server", closed.rcvd, None)
    try:
        await connect(additional_headers={"Sec-WebSocket-Version": "12"})
    except websockets.InvalidStatus as refused:
        check(f"{name} refused", refused.response.status_code, 400)

    async def one(number):
        async with connect() as socket:
            echoed = 0
            for turn in range(10):
                message = f"{number} {turn} " * 500
                await socket.send(message)
                echoed += await socket.recv() == message
            return echoed

    check(f"{name} 200 at once", sum(await asyncio.gather(*map(one, range(200)))), 2000)


def with_grpc(name, channel):
    echo = echo_pb2_grpc.EchoStub(channel)
    message = lambda text: echo_pb2.Message(text=str(text))
    answer, call = echo.Unary.with_call(message("one"), timeout=20)
    check(f"grpcio {name} unary", (answer.text, dict(call.trailing_metadata()).get("x-trailer")), ("one", "from the service"))
    check(f"grpcio {name} streaming up", echo.Up(map(message, range(100)), timeout=20).text, ",".join(map(str, range(100))))
    check(f"grpcio {name} streaming down", [m.text for m in echo.Down(message(1000), timeout=20)], [str(n) for n in range(1000)])
    turns, heard = iter("abcdef"), []
    # Each message is sent when the answer to the one before was heard.
    queue = __import__("queue").SimpleQueue()
    queue.put(next(turns))
    for answer in echo.Both((message(text) for text in iter(queue.get, None)), timeout=20):
        heard.append(answer.text)
        queue.put(next(turns, None))
    check(f"grpcio {name} both ways, in turns", heard, list("ABCDEF"))
    try:
        echo.Fail(message("because"), timeout=20)
        check(f"grpcio {name} status", "no error", "an error")
    except grpc.RpcError as error:
        seen = (error.code().name, error.details(), dict(error.trailing_metadata()).get("x-why"))
        check(f"grpcio {name} status", seen, ("FAILED_PRECONDITION", "as was asked for", "because"))


with_httpx("HTTP/1.1", f"http://localhost:{HTTP}")
with_httpx("HTTP/1.1", f"https://localhost:{HTTPS}")
with_httpx("HTTP/2", f"https://localhost:{HTTPS}")
events(f"https://localhost:{HTTPS}", http2=True)
asyncio.run(with_websockets(f"ws://localhost:{HTTP}", None))
# httpx has told the other context to offer HTTP/2.
asyncio.run(with_websockets(f"wss://localhost:{HTTPS}", ssl.create_default_context(cafile=AUTHORITY)))
with_grpc("h2c", grpc.insecure_channel(f"localhost:{HTTP}"))
with open(AUTHORITY, "rb") as authority:
    credentials = grpc.ssl_channel_credentials(authority.read())
with_grpc("tls", grpc.secure_channel(f"localhost:{HTTPS}", credentials))
sys.exit(f"{len(FAILED)} failed" if FAILED else 0)
