from __future__ import annotations

import json
from pathlib import Path

from flow.sources.stream import StreamReader


def test_every_real_video_is_read_whole(data: Path, make_stream) -> None:
    videos = [entry for entry in json.loads((data / "INDEX.json").read_text())["entries"] if "video" in entry]
    assert len(videos) > 20
    for entry in videos:
        known = entry["video"]
        stream = make_stream(str(data / entry["file"]))
        reader = StreamReader(stream)
        count, last = 0, -1
        while (frame := reader.read()) is not None:
            assert frame.seq == count
            assert frame.pts_ns > last
            count, last = count + 1, frame.pts_ns
        reader.close()
        assert (stream.spec.width, stream.spec.height) == (known["w"], known["h"]), entry["file"]
        assert count == known["frames"], entry["file"]
        assert (reader.corrupt, stream.spec.full_range) == (0, known["pix"].startswith("yuvj")), entry["file"]
