"""HTTP/2 by hand: every frame that a client may send, and every one that it may not."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
NO_ERROR, PROTOCOL_ERROR, FRAME_SIZE_ERROR, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 6, 8, 11
SERVICE = "/coppice.v1.Inference/"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field without compression."""
    name, value = name.encode(), value.encode()
    assert len(name) < 127 and len(value) < 127
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def call_headers(method, *more):
    """The header block of a gRPC call."""
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", SERVICE + method),
        (":authority", "x"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *more,
    ]
    return b"".join(literal(*field) for field in fields)


def message(payload):
    """A message as gRPC puts it into DATA."""
    return b"\x00" + struct.pack(">I", len(payload)) + payload


class Connection:
    """A client's connection. `with Connection(address) as connection:`"""

    def __init__(self, address, greet=True, wrap=None, timeout=20):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wrap is not None:
            self.socket = wrap(self.socket)
        self.inbox = b""
        self.is_over = False
        if greet:
            self.send(PREFACE + frame(SETTINGS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """False when the server has closed the connection."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def flood(self, data, times, per_write=50):
        """Sends `data` again and again until the server closes. How often it was sent."""
        block = data * per_write
        for sent in range(0, times, per_write):
            if not self.send(block):
                return sent
        return times

    def read_frame(self):
        """(kind, flags, stream, payload), or None at the end of the connection."""
        while True:
            if len(self.inbox) >= 9:
                length = int.from_bytes(self.inbox[:3], "big")
                if len(self.inbox) >= 9 + length:
                    kind, flags, stream = struct.unpack(">BBI", self.inbox[3:9])
                    payload = self.inbox[9 : 9 + length]
                    self.inbox = self.inbox[9 + length :]
                    return kind, flags, stream & 0x7FFFFFFF, payload
            try:
                piece = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                piece = b""
            if not piece:
                return None
            self.inbox += piece

    def read_until(self, *kinds):
        """The next frame of one of these kinds, or None at the end of the connection."""
        while True:
            found = self.read_frame()
            if found is None or found[0] in kinds:
                return found

    def wait_closed(self):
        """The error code of GOAWAY; None when the connection ends without one. Raises TimeoutError if it stays open."""
        code = None
        while (found := self.read_frame()) is not None:
            if found[0] == GOAWAY:
                code = int.from_bytes(found[3][4:8], "big")
        return code
