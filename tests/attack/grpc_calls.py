"""Calls with bytes for messages, as a client would make them that has no schema, or a bad one."""

import grpc

SERVICE = "/coppice.v1.Inference/"
STREAMING = ("Generate", "Chat")


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """A field on the wire: bytes and text are length-delimited, an int is a varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed32(number, value):
    return varint(number << 3 | 5) + value


def generate(text="Once", tokens=4, sampling=b"", rest=b""):
    return field(2, text) + field(4, field(12, tokens) + sampling) + rest


def chat(content="hi", tokens=4, message=b"", rest=b""):
    return field(2, field(1, "user") + field(2, content) + message) + field(3, field(12, tokens)) + rest


class Caller:
    def __init__(self, address, **options):
        large = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(address, options=large + list(options.items()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def start(self, method, payload, timeout=60, metadata=None):
        make = self.channel.unary_stream if method in STREAMING else self.channel.unary_unary
        run = make(SERVICE + method, request_serializer=None, response_deserializer=None)
        return run(payload, timeout=timeout, metadata=metadata)

    def call(self, method, payload, **options):
        """The responses as bytes."""
        answer = self.start(method, payload, **options)
        return list(answer) if method in STREAMING else [answer]

    def refusal(self, method, payload, **options):
        """(code, details) of a call that must fail."""
        try:
            answer = self.call(method, payload, **options)
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError(f"{method} was answered: {answer[:1]}")


def works(address):
    with Caller(address) as caller:
        assert caller.call("Generate", generate(), timeout=30)
