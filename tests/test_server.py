"""examples/server: pages edited again and again while 200 connections ask for them."""

from __future__ import annotations

import re
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import LIMIT, HostProcess, Project, example
from runtime_kit import STRICT

CONNECTIONS = 200
RELOADS = 50


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Project]:
    with example(tmp_path / "tree", "server") as made:
        made.edit("SConstruct", '"-Wall", "-Wextra"', ", ".join(f'"{flag}"' for flag in STRICT))
        yield made


def port_of(host: HostProcess) -> int:
    return int(host.wait_line("http://").rstrip("/").rpartition(":")[2])


class Client:
    """One connection, kept alive. A request goes out in two halves; its answer is checked as a whole."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.socket.setblocking(False)
        self.halves: list[bytes] = []
        self.waits = False
        self.floor = 0
        """No older generation may answer."""
        self._came = b""

    def step(self, reported: int) -> None:
        """Send half a request, unless an answer is still to come."""
        if self.waits:
            return
        if not self.halves:
            self.halves = [b"GET / HTTP/1.1\r\nHo", b"st: localhost\r\n\r\n"]
        else:
            self.floor = max(self.floor, reported)
        assert self.socket.send(half := self.halves.pop(0)) == len(half)
        self.waits = not self.halves

    def take(self) -> int | None:
        """Read; when a whole answer is there, the number that the state has counted for it."""
        data = self.socket.recv(65536)
        assert data and self.waits, "the server closed a connection, or says more than it was asked"
        self._came += data
        head, end, body = self._came.partition(b"\r\n\r\n")
        if not end or len(body) < int(header(head, "Content-Length")):
            return None
        text = body.decode()
        generation = int(header(head, "X-Generation"))
        found = re.search(r"<h1>Edition (\d+)</h1>\n<p>Request (\d+) since .*</p>\n</body></html>\n\Z", text)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n") and len(body) == int(header(head, "Content-Length"))
        assert found and text.startswith("<!doctype html>\n"), text
        assert int(found[1]) == generation >= self.floor, f"{text}\nof #{generation}; #{self.floor} had been reported"
        self.floor = generation
        self.waits, self._came = False, b""
        return int(found[2])


def header(head: bytes, name: str) -> str:
    return head.decode().partition(f"\r\n{name}: ")[2].partition("\r\n")[0]


class Load:
    """Clients that ask, in turns, until it is told to end; then each has its last answer."""

    def __init__(self, port: int) -> None:
        self.reported = 1
        """The generation that scons watch has said runs."""
        self.ended = threading.Event()
        self.numbers: list[int] = []
        self.clients = [Client(port) for _ in range(CONNECTIONS)]

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for client in self.clients:
                selector.register(client.socket, selectors.EVENT_READ, client)
            turn = 0
            while not self.ended.is_set() or any(client.waits or client.halves for client in self.clients):
                for client in self.clients[turn::10]:
                    if client.halves or not self.ended.is_set():
                        client.step(self.reported)
                turn = (turn + 1) % 10
                tick = time.monotonic() + 0.01  # 200 connections, a half each 0.1 s: load enough, and the compiler's too
                while (left := tick - time.monotonic()) > 0:
                    for key, _ in selector.select(left):
                        if (number := key.data.take()) is not None:
                            self.numbers.append(number)


def test_reloads_under_load(server: Project) -> None:
    """No connection lost, every answer whole and of no older code than was reported, every request counted once."""
    server.edit("pages.c", '"Good morning"', '"Edition 1"')
    watch = server.watch()
    host = server.host("build/main", "0")
    watch.wait("host", lambda e: e["pid"] == host.pid)
    load = Load(port_of(host))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(load.run)
        try:
            for generation in range(2, RELOADS + 2):
                server.edit("pages.c", f'"Edition {generation - 1}"', f'"Edition {generation}"')
                watch.reloaded(host=host.pid, generation=generation)
                load.reported = generation
                assert not running.done(), running.result()
            source = server.path("pages.c").read_text()
            source = source.replace("home, count, missing;", "home, count, teapot, missing;")
            source = source.replace('"/count", count}', '"/count", count},\n    {"/teapot", teapot}')
            source = source.replace(f'"Edition {generation}"', f'"Edition {generation + 1}"')
            source = source.replace(
                "static void missing(",
                'static void teapot(struct site *site, struct reply *reply)\n{\n    site->hits.teapot++;\n'
                '    answer_is(reply, 418, "text/plain");\n    say(reply, "%lu", site->hits.teapot);\n}\n\n'
                "static void missing(",
            )  # fmt: skip
            server.write("pages.c", source)
            state = watch.reloaded(host=host.pid, generation=generation + 1)["state"]
            assert state == "state: 3 kept, 1 moved, 1 new (hits.teapot = 0)"
            load.reported = generation + 1
        finally:
            load.ended.set()
        running.result(LIMIT)
    assert sorted(load.numbers) == list(range(1, len(load.numbers) + 1)), "each request is counted, once"
    assert len(load.numbers) > CONNECTIONS
    one = load.clients[0].socket
    one.setblocking(True)
    assert ask(one, b"/teapot").startswith("HTTP/1.1 418 ")
    total = len(load.numbers)
    assert ask(one, b"/count").endswith(f"{total + 2} requests: / {total}, /count 1, missing 0\n")
    server.edit("pages.c", f'"Edition {generation + 1}"', f'"Edition {generation + 2}"')
    watch.reloaded(host=host.pid, generation=generation + 2)  # nobody asks: hr_fd alone wakes it
    for client in load.clients:
        client.socket.close()
    assert watch.stop() == 130
    assert host.alive and "  warning" not in watch.output


def ask(one: socket.socket, path: bytes) -> str:
    one.settimeout(LIMIT)
    one.sendall(b"GET %b HTTP/1.1\r\n\r\n" % path)
    return one.recv(65536).decode()


def test_what_it_answers(server: Project) -> None:
    """With release=1: requests one behind the other in one packet, HEAD, what it cannot do, and a bad one."""
    server.scons("release=1")
    host = server.host("build/main", "0")
    with socket.create_connection(("127.0.0.1", port_of(host)), LIMIT) as one:
        one.sendall(b"HEAD / HTTP/1.1\r\n\r\nGET /nowhere HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n")
        said = b"".join(iter(lambda: one.recv(65536), b"")).decode()
    assert re.findall(r"^HTTP/1.1 (\d+)", said, re.M) == ["200", "404", "501"]
    assert "<h1>" not in said and "There is no such page." in said
    with socket.create_connection(("127.0.0.1", port_of(host)), LIMIT) as one:
        one.sendall(b"rubbish\r\n\r\n")
        said = b"".join(iter(lambda: one.recv(65536), b"")).decode()
    assert said.startswith("HTTP/1.1 400 Bad Request\r\n")
