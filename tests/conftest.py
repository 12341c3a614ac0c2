"""For all tests: one thread, and no network but this machine's own."""

import socket

import pytest
import torch

torch.set_num_threads(1)

LOCAL = ("127.", "localhost", "::1", "0.0.0.0")


def refuse(host: object) -> None:
    """Raise what a machine without a network would raise."""
    if isinstance(host, bytes):
        host = host.decode()
    if isinstance(host, str) and host and not host.startswith(LOCAL):
        raise OSError(f"a test asked for {host!r}; the tests use no network")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Connections and look-ups that leave the machine fail at once."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self, address):
        if isinstance(address, tuple):  # a path is a socket of this machine
            refuse(address[0])
        return connect(self, address)

    def guarded_look_up(host, *arguments, **options):
        refuse(host)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
