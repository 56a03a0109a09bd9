"""A network camera over RTSP, its video carried in the same TCP connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from flow.sources.contract import Probe, SourceError
from flow.sources.decoder import Decoder
from flow.sources.live import LiveReader, probe_live
from flow.sources.secrets import refuse_password, with_secret

TIMEOUT_S = 5.0
"""Longest wait for an answer while opening, and for the next packet while reading."""


class RtspSource:
    """`rtsp://HOST[:PORT]/PATH` (`rtsps://` with TLS). The secret is `user:password`."""

    scheme: ClassVar[str] = "rtsp"

    @classmethod
    def probe(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
        return probe_live(lambda: cls.open(uri, options, secret), options, "yuv420p")

    @classmethod
    def open(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> LiveReader:
        refuse_password(uri)
        if not urlsplit(uri).hostname:
            raise SourceError(f"{uri}: expected rtsp://HOST[:PORT]/PATH, got no host")
        location = with_secret(uri, secret)
        av_options = {
            "rtsp_transport": "tcp",
            "timeout": str(int(TIMEOUT_S * 1e6)),
            "protocol_whitelist": "rtsp,rtsps,rtp,tcp,tls,udp",
            "allowed_media_types": "video",
        }
        return LiveReader(
            lambda: Decoder(
                location, uri=uri, expected="an RTSP camera that answers", options=options, av_options=av_options, format="rtsp",
                timeout=TIMEOUT_S, live=True, secret=secret,
            ),
            uri=uri,
        )  # fmt: skip
