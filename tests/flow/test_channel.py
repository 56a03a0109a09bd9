"""The channel between the executor and a worker: whole messages, or none."""

from __future__ import annotations

import socket

import pytest

from flow import channel


def test_a_message_that_goes_out_only_in_part_is_never_followed_by_another() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.05)
        with pytest.raises(channel.Closed):
            channel.send(ours, {"kind": "setup", "data": "x" * (8 << 20)})
        with pytest.raises(channel.Closed):
            channel.send(ours, {"kind": "build"})
        with pytest.raises(channel.Closed, match="in a message"):
            channel.receive(theirs)


def test_messages_come_whole_and_with_their_descriptors() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel.send(ours, {"kind": "one"}, [ours.fileno(), theirs.fileno()])
        channel.send(ours, {"kind": "two"})
        message, fds = channel.receive(theirs)
        assert (message, len(fds)) == ({"kind": "one"}, 2)
        assert channel.receive(theirs) == ({"kind": "two"}, [])
        for fd in fds:
            socket.socket(fileno=fd).close()
