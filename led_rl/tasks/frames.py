"""How two processes that share a pipe talk: messages with a length in front, and a secret that proves who answered.

A request is one message followed by a nonce: random bytes made for this request alone. Who serves requests forks a
child for the work first and reads the nonce afterwards, so the child, in which a model's text is at work, never has it;
a reply counts only if it repeats the nonce. Standard library only: this is also loaded inside the jail.
"""

import hmac
import os
import select
import struct
import time

HEADER = struct.Struct(">cQ")  # of every message: its kind and the length of what follows
READY, BROKEN, REQUEST = b"R", b"B", b"Q"
NONCE_BYTES = 16


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def send(fd: int, kind: bytes, content: bytes) -> None:
    write_all(fd, HEADER.pack(kind, len(content)) + content)


def send_request(fd: int, content: bytes) -> bytes:
    """Ask; returns the nonce that the reply must begin with."""
    nonce = os.urandom(NONCE_BYTES)
    write_all(fd, HEADER.pack(REQUEST, len(content)) + content + nonce)
    return nonce


def receive(fd: int) -> tuple[bytes, bytes] | None:
    """Kind and content of the next message; None at the end of the stream. Reads not one byte more."""
    header = read_exactly(fd, HEADER.size)
    if header is None:
        return None
    kind, length = HEADER.unpack(header)
    content = read_exactly(fd, length)
    return None if content is None else (kind, content)


def read_exactly(fd: int, length: int) -> bytes | None:
    found = bytearray()
    while len(found) < length:
        chunk = os.read(fd, min(length - len(found), 1 << 20))
        if not chunk:
            return None
        found += chunk
    return bytes(found)


def receive_before(fd: int, deadline: float, most_bytes: int) -> tuple[bytes, bytes] | None:
    """Like `receive`; None also at the deadline (of `time.monotonic`), and if the content is longer than it may be."""
    header = _read_before(fd, HEADER.size, deadline)
    if header is None:
        return None
    kind, length = HEADER.unpack(header)
    content = _read_before(fd, length, deadline) if length <= most_bytes else None
    return None if content is None else (kind, content)


def receive_reply(fd: int, nonce: bytes, deadline: float, most_bytes: int) -> tuple[bytes, bytes] | None:
    """The reply to the request of this nonce; None if none comes in time, or one that does not begin with the nonce."""
    reply = receive_before(fd, deadline, most_bytes + NONCE_BYTES)
    if reply is None or not hmac.compare_digest(reply[1][:NONCE_BYTES], nonce):
        return None
    return reply[0], reply[1][NONCE_BYTES:]


def _read_before(fd: int, length: int, deadline: float) -> bytes | None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    found = bytearray()
    while len(found) < length:
        left_ms = (deadline - time.monotonic()) * 1000
        if left_ms <= 0 or not poll.poll(left_ms):
            return None
        chunk = os.read(fd, min(length - len(found), 1 << 16))
        if not chunk:
            return None
        found += chunk
    return bytes(found)
