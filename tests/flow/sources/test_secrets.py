from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.sources import SourceError
from flow.sources.secrets import read_secret, refuse_password, scrub, with_secret


def test_comes_from_the_environment() -> None:
    assert read_secret("CAMERA", {"CAMERA": "user:word"}) == "user:word"


def test_comes_from_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("user:pass:word\n")
    path.chmod(0o600)
    assert read_secret("CAMERA", {"CAMERA_FILE": str(path)}) == "user:pass:word"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text("user:hunter2")
    path.chmod(mode)
    with pytest.raises(SourceError, match="chmod 600") as failure:
        read_secret("CAMERA", {"CAMERA_FILE": str(path)})
    assert "hunter2" not in str(failure.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("user:hunter2")
    path.chmod(0o600)
    os.chown(path, 12345, -1)
    with pytest.raises(SourceError, match="our own user"):
        read_secret("CAMERA", {"CAMERA_FILE": str(path)})


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, says in ((tmp_path / "pipe", "regular file"), (tmp_path, "regular file"), (tmp_path / "none", "No such file")):
        with pytest.raises(SourceError, match=says):
            read_secret("CAMERA", {"CAMERA_FILE": str(path)})


def test_neither_says_both_ways() -> None:
    with pytest.raises(SourceError, match="CAMERA=user:password, or CAMERA_FILE=PATH"):
        read_secret("CAMERA", {})


@pytest.mark.parametrize("value", ["hunter2", ":hunter2", "user:", "user:hunter2\nmore", "user:" + "hunter2" * 1000])
def test_a_secret_of_another_form_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(SourceError, match="expected user:password") as failure:
        read_secret("CAMERA", {"CAMERA": value})
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("uri", ["rtsp://user:hunter2@host/1", "rtsp://user:hunter2@host:554", "rtsp://u:hunter2@x@host/1"])
def test_a_password_in_a_url_is_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(SourceError, match="without a password") as failure:
        refuse_password(uri)
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("uri", ["rtsp://host/1", "rtsp://user@host/1", "rtsp://host:554/a@b:c", "rtsp://[::1]:554/1", "clip.mp4"])
def test_other_urls_pass(uri: str) -> None:
    refuse_password(uri)


text = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=12)


@given(user=text.filter(lambda value: ":" not in value), password=text.filter(lambda value: len(value) > 5))
def test_nothing_of_the_secret_is_left_in_a_message(user: str, password: str) -> None:
    from urllib.parse import unquote, urlsplit

    secret = f"{user}:{password}"
    url = with_secret("rtsp://host:554/live", secret)
    parts = urlsplit(url)
    assert (unquote(parts.username), unquote(parts.password), parts.hostname, parts.port) == (user, password, "host", 554)
    for message in (f"cannot open {url}", f"{secret} was refused", f"password {password}"):
        assert password not in scrub(message, secret).replace("***", "")
