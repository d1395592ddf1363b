#!/usr/bin/env python3
"""A client of Quorate in another language, from proto/PROTOCOL.md alone, with Python's standard library and nothing else.

    tests/client.py HOST:PORT [HOST:PORT ...]

Two people sign up, meet and talk. One loses her connection again and again, in the middle of sending, and goes on at the next
of the gateways. At the end everybody must have every message once, in one order. Prints one line of JSON; exit code 0 only
if all of that held.
"""
import base64
import hashlib
import http.client
import json
import os
import socket
import struct
import sys
import time
import uuid

SUBPROTOCOL = "quorate.v1.json"
WAIT_S = 30


class Closed(Exception):
    """The socket has ended; the server's close code, if it said one."""


class WebSocket:
    """RFC 6455, as much of it as a client needs."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.tcp = socket.create_connection((host, int(port)), WAIT_S)
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.tcp.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self._receive()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        if b" 101 " not in head.split(b"\r\n")[0] or accept not in head:
            raise Closed(f"no upgrade: {head!r}")

    def _receive(self):
        data = self.tcp.recv(65536)
        if not data:
            raise Closed("end of stream")
        return data

    def _take(self, count):
        while len(self.buffer) < count:
            self.buffer += self._receive()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, text, opcode=1):
        payload, mask = text.encode() if isinstance(text, str) else text, os.urandom(4)
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        self.tcp.sendall(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))

    def receive(self, timeout_s):
        """The next text message; None when nothing came in time."""
        message = b""
        while True:
            self.tcp.settimeout(timeout_s if not message and not self.buffer else WAIT_S)
            try:
                first, second = self._take(2)
            except socket.timeout:
                return None
            # What has begun comes whole.
            self.tcp.settimeout(WAIT_S)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", self._take(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self._take(8))
            payload = self._take(length)
            opcode = first & 0x0F
            if opcode == 8:
                raise Closed(struct.unpack("!H", payload[:2])[0] if payload else 1005)
            if opcode == 9:
                self.send(payload, 10)
            elif opcode in (0, 1):
                message += payload
                if first & 0x80:
                    return message.decode()

    def drop(self):
        """As a tunnel does it: no close frame, a reset."""
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.close()


class Rest:
    """The calls beside the socket."""

    def __init__(self, gateways):
        self.gateways = gateways
        self.at = 0

    def call(self, method, path, body=None, token=None, key=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if key:
            headers["Idempotency-Key"] = key
        self.at += 1
        end = time.monotonic() + WAIT_S
        while True:
            connection = http.client.HTTPConnection(self.gateways[self.at % len(self.gateways)], timeout=WAIT_S)
            connection.request(method, "/api/v1" + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            # Perhaps nobody leads just now: what is read, or written under a key, may be asked for again.
            if answer.status != 503 or not (method == "GET" or key) or time.monotonic() > end:
                break
            time.sleep(0.25)
        if answer.status >= 300:
            raise SystemExit(f"{method} {path} answered {answer.status}: {text.decode()}")
        return json.loads(text) if text else None


class Person:
    """A session that goes on, whatever happens to its sockets."""

    def __init__(self, name, grant, gateways):
        self.name, self.token, self.gateways = name, grant["access_token"], gateways
        self.ws, self.at, self.next_id = None, 0, 1
        self.cluster, self.position, self.seen, self.log_time = None, 0, 0, 0
        self.versions, self.texts, self.members = {}, {}, set()  # by conversation
        self.answers = {}
        self.outbox = {}  # client_message_id -> frame, until acknowledged
        self.sent, self.retry_at = {}, {}  # frame id -> client_message_id; client_message_id -> when to send again
        self.drops, self.resumed, self.replays = 0, 0, 0

    def connect(self):
        self.ws = WebSocket(self.gateways[self.at % len(self.gateways)])
        self.at += 1
        hello = {"type": "hello", "token": self.token, "device": "python", "app": "tests/client.py"}
        if self.cluster:
            hello["resume"] = {"cluster": self.cluster, "position": self.position, "seen": self.seen}
        welcome = self.ask(hello)
        if welcome["type"] != "welcome":
            raise SystemExit(f"not welcome: {welcome}")
        self.cluster, self.log_time = welcome["cluster"], welcome["log_time"]
        if welcome["resumed"]:
            self.resumed += 1
        else:
            # A fresh start: everything is read from the beginning of what is hers.
            self.position = welcome["index"]
            for summary in welcome["conversations"]:
                self.catch_up(summary["id"])
        self.sent.clear()
        for frame in list(self.outbox.values()):
            self.say(frame)

    def say(self, frame):
        frame = {**frame, "id": self.next_id}
        self.next_id += 1
        if frame["type"] == "send":
            self.sent[frame["id"]] = frame["client_message_id"]
        self.ws.send(json.dumps(frame))
        return frame["id"]

    def ask(self, frame):
        number = self.say(frame)
        end = time.monotonic() + WAIT_S
        while number not in self.answers:
            if time.monotonic() > end:
                raise SystemExit(f"{self.name}: no answer to {frame['type']}")
            self.read(1)
        return self.answers.pop(number)

    def read(self, timeout_s):
        """Takes one message from the socket, if one comes in time; sends again what was put off."""
        for identifier in [each for each, when in self.retry_at.items() if when <= time.monotonic()]:
            del self.retry_at[identifier]
            if identifier in self.outbox:
                self.say(self.outbox[identifier])
        text = self.ws.receive(timeout_s)
        if text is not None:
            frames = json.loads(text)
            for frame in frames if isinstance(frames, list) else [frames]:
                self.take(frame)

    def take(self, frame):
        kind = frame["type"]
        if kind == "ack":
            self.seen = max(self.seen, frame["index"])
            self.log_time = max(self.log_time, frame["log_time"])
            self.replays += frame["replay"]
            self.outbox.pop(frame["client_message_id"], None)
        if frame.get("reply") in self.sent:
            identifier = self.sent.pop(frame["reply"])
            if kind == "error" and not frame["error"]["temporary"]:
                raise SystemExit(f"{self.name}: refused: {frame}")
            if kind == "error":
                self.retry_at[identifier] = time.monotonic() + frame["error"].get("retry_ms", 1000) / 1000
        elif "reply" in frame:
            self.answers[frame["reply"]] = frame
        elif kind == "event":
            self.event(frame)
            self.position = max(self.position, frame["index"] - 1)
        elif kind == "me":
            self.seen = max(self.seen, frame["index"])
            self.position = max(self.position, frame["index"] - 1)
            if frame["kind"] == "added":
                self.versions.setdefault(frame["conversation"]["id"], frame["base_version"])
        elif kind == "ping":
            self.position, self.log_time = max(self.position, frame["index"]), frame["log_time"]
            self.say({"type": "pong", "n": frame["n"]})
        elif kind == "bye":
            raise Closed(frame["code"])

    def event(self, event):
        """Dense versions: what is known is dropped, what comes too early is asked for."""
        self.seen = max(self.seen, event["index"])
        topic = event["conversation"]
        last = self.versions.get(topic, 0)
        if event["version"] <= last:
            return
        if event["version"] > last + 1:
            self.catch_up(topic)
            return
        self.versions[topic] = event["version"]
        if event["kind"] == "message":
            texts = self.texts.setdefault(topic, [])
            if event["sequence"] != len(texts) + 1:
                raise SystemExit(f"{self.name}: sequence {event['sequence']} after {len(texts)}")
            texts.append(event["text"])
            self.outbox.pop(event["client_message_id"], None)

    def catch_up(self, topic):
        more = True
        while more:
            pairs = [{"topic": topic, "version": self.versions.get(topic, 0)}]
            page = self.ask({"type": "since", "pairs": pairs, "limit": 300})["pages"][0]
            if "skip_to" in page:
                self.versions[topic] = max(self.versions.get(topic, 0), page["skip_to"])
            for event in page.get("events", []):
                self.event(event)
            more = page["more"]

    def send(self, conversation, text):
        identifier = str(uuid.uuid4())
        frame = {
            "type": "send", "conversation": conversation, "client_message_id": identifier,
            "text": text, "first_sent": self.log_time,
        }
        self.outbox[identifier] = frame
        self.say(frame)

    def drop(self):
        self.ws.drop()
        self.drops += 1
        self.connect()

    def turn(self):
        """A moment of this person's life."""
        try:
            self.read(0.02)
        except (Closed, OSError):
            self.connect()


def settle(people, conversation, count):
    """Until everything of everybody is acknowledged and has come to everybody."""
    end = time.monotonic() + WAIT_S
    while any(person.outbox or len(person.texts.get(conversation, [])) < count for person in people):
        if time.monotonic() > end:
            raise SystemExit("; ".join(f"{p.name}: {len(p.outbox)} unacknowledged, {p.texts}" for p in people))
        for person in people:
            person.turn()


def main():
    gateways = sys.argv[1:]
    if not gateways:
        raise SystemExit(__doc__)
    rest, names = Rest(gateways), [f"py{uuid.uuid4().hex[:10]}" for _ in range(2)]
    grants = [rest.call("POST", "/accounts", {"name": name, "password": "a password of Python"}) for name in names]
    ana, bob = (Person(name, grant, gateways) for name, grant in zip(names, grants))
    for person in (ana, bob):
        person.connect()

    made = ana.ask({"type": "do", "client_message_id": str(uuid.uuid4()), "first_sent": 0,
                    "command": {"action": "create_direct", "user": bob.name}})
    room = made["conversation"]
    expected = set()
    rounds, burst = 6, 3
    for turn in range(rounds):
        for number in range(burst):
            for person in (ana, bob):
                text = f"{person.name} {turn}.{number} — 今日は 👋"
                expected.add(text)
                person.send(room, text)
        # Ana loses her connection with sends on the way; bob talks on while she is away.
        ana.drop()
        settle((ana, bob), room, len(expected))

    # The same over REST, twice under one key, by another gateway.
    key, text = str(uuid.uuid4()), "by REST"
    expected.add(text)
    path = f"/conversations/{room}/messages"
    first = rest.call("POST", path, {"text": text}, ana.token, key)
    again = rest.call("POST", path, {"text": text}, ana.token, key)
    settle((ana, bob), room, len(expected))
    page = rest.call("GET", f"{path}?limit=100&min_index={first['index']}", token=bob.token)
    history = [message["text"] for message in page["messages"]]

    checks = {
        "everybody has the same order": ana.texts[room] == bob.texts[room] == history,
        "every message is there once": sorted(history) == sorted(expected),
        "a repeated write is one write": again["replay"] and again["sequence"] == first["sequence"],
        "every drop was resumed": ana.resumed == ana.drops == rounds,
        "a profile": rest.call("GET", "/me", token=ana.token)["user"]["name"] == ana.name,
    }
    rest.call("PUT", f"/conversations/{room}/read", {"sequence": len(history)}, bob.token)
    rest.call("DELETE", "/sessions/current", token=ana.token)
    print(json.dumps({"checks": checks, "messages": len(history), "drops": ana.drops, "replays": ana.replays}))
    sys.exit(0 if all(checks.values()) else 1)


if __name__ == "__main__":
    main()
