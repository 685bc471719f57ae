"""ClusterStatus as a plain Thrift call over a Unix socket: a fraction of a millisecond, no process to start.

A test that must kill a process at a moment when something holds has to see that moment and act at once.
"""

import socket
import struct

REPLY = 2  # Thrift's message type


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def read_integer(data, at):
    value, at = read_varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def read_value(data, at, kind):
    """One value of the compact protocol: structs as dictionaries by field id, the rest as Python's own."""
    if kind in (1, 2):
        return kind == 1, at
    if kind == 3:
        return data[at], at + 1
    if kind in (4, 5, 6):
        return read_integer(data, at)
    if kind == 7:
        return struct.unpack_from("<d", data, at)[0], at + 8
    if kind == 8:
        size, at = read_varint(data, at)
        return data[at:at + size], at + size
    if kind in (9, 10):
        size, element = data[at] >> 4, data[at] & 15
        at += 1
        if size == 15:
            size, at = read_varint(data, at)
        out = []
        for _ in range(size):
            if element in (1, 2):  # a list's booleans have a byte each
                out.append(data[at] == 1)
                at += 1
                continue
            value, at = read_value(data, at, element)
            out.append(value)
        return out, at
    if kind == 12:
        return read_struct(data, at)
    raise AssertionError(f"a type of field that no status has: {kind}")


def read_struct(data, at):
    out, field = {}, 0
    while data[at] != 0:
        delta, kind = data[at] >> 4, data[at] & 15
        at += 1
        if delta:
            field += delta
        else:
            field, at = read_integer(data, at)
        out[field], at = read_value(data, at, kind)
    return out, at + 1


class NamenodeStatus:
    """Asks one namenode for its status, again and again."""

    NAME = b"cluster_status"

    def __init__(self, unix_path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(240)
        self.socket.connect(unix_path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self, size):
        out = b""
        while len(out) < size:
            piece = self.socket.recv(size - len(out))
            if not piece:
                raise ConnectionError("the namenode closed the connection")
            out += piece
        return out

    def ask(self):
        """The fields of ClusterStatusReply (dfs.thrift) that tests look at."""
        message = b"\x82\x21\x01" + bytes([len(self.NAME)]) + self.NAME + b"\x1c\x00\x00"
        self.socket.sendall(struct.pack(">I", len(message)) + message)
        data = self.receive(struct.unpack(">I", self.receive(4))[0])
        assert data[0] == 0x82 and data[1] >> 5 == REPLY, data[:50]
        _, at = read_varint(data, 2)
        size, at = read_varint(data, at)
        result, _ = read_struct(data, at + size)
        reply = result[0]
        return {
            "leader": reply[3],
            "commit_index": reply[5],
            "open_blocks": reply.get(25, 0),
            # An entry that one member has and that is not committed: somebody waits for it.
            "proposal_pending": any(member[6] > reply[5] for member in reply[10]),
        }
