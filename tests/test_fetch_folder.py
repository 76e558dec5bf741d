"""``fetch`` into a folder that holds something: what is equal stays, what differs is not lost."""

from __future__ import annotations

import pytest
from fetch_bench import (
    FILES,
    PNG,
    REPORTS,
    WHOLE,
    image_bytes,
    packed,
    said_in_one_line,
    tree,
)

from robustness import evalset

FLAT = {path.removeprefix("NLMCXR_png/"): content for path, content in FILES[PNG].items()}


def test_a_folder_unpacked_by_hand_is_completed(web, tmp_path):
    names = list(FLAT)
    for name in names[:5]:
        (tmp_path / "NLMCXR_png").mkdir(exist_ok=True)
        (tmp_path / "NLMCXR_png" / name).write_bytes(FLAT[name])
    own = image_bytes(99)
    (tmp_path / "NLMCXR_png" / "mine.png").write_bytes(own)
    inode = (tmp_path / "NLMCXR_png" / names[0]).stat().st_ino
    ended = web.call(tmp_path)
    assert ended.status == 0
    assert "5 files there already, and equal" in ended.err
    assert tree(tmp_path) == WHOLE | {"NLMCXR_png/mine.png": own}
    assert (tmp_path / "NLMCXR_png" / names[0]).stat().st_ino == inode


def test_a_file_that_differs_is_not_overwritten(web, tmp_path):
    target = tmp_path / "NLMCXR_png" / "CXR3_IM-0003-1001.png"
    target.parent.mkdir()
    target.write_bytes(FLAT[target.name][:-10])
    said_in_one_line(web.call(tmp_path), 1, str(target), "differs", "move what differs away")
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert not (tmp_path / "ecgen-radiology").exists()
    target.unlink()
    assert web.call(tmp_path).status == 0
    assert len(web.server.asked(PNG)) == 1
    assert tree(tmp_path) == WHOLE


@pytest.mark.parametrize("harm", ["unlink", "note", "wrong note"])
def test_a_folder_that_lost_something_is_mended(web, tmp_path, harm):
    web.call(tmp_path)
    target = tmp_path / "NLMCXR_png" / "CXR3_IM-0003-1001.png"
    note = tmp_path / ".fetched.json"
    if harm == "unlink":
        target.unlink()
    if harm == "note":
        note.unlink()
    if harm == "wrong note":
        note.write_text('{"schema": "fetched-1", "archives": [1]}')
    ended = web.call(tmp_path)
    assert ended.status == 0
    assert ("1 of its files are gone or were changed" in ended.err) == (harm == "unlink")
    assert tree(tmp_path) == WHOLE
    assert "already, so nothing was fetched" in web.call(tmp_path).out


def test_a_file_that_was_cut_since_is_found(web, tmp_path):
    web.call(tmp_path)
    target = tmp_path / "NLMCXR_png" / "CXR3_IM-0003-1001.png"
    target.write_bytes(FLAT[target.name][:-10])
    ended = web.call(tmp_path)
    assert "1 of its files are gone or were changed, such as CXR3_IM-0003-1001.png" in ended.err
    said_in_one_line(ended, 1, str(target), "move what differs away")
    target.unlink()
    assert web.call(tmp_path).status == 0
    assert tree(tmp_path) == WHOLE


def test_what_a_killed_run_left_unpacked_is_swept_away(web, tmp_path):
    left = tmp_path / ".unpacking-x" / "NLMCXR_png"
    left.mkdir(parents=True)
    (left / "CXR1_IM-0001-1001.png").write_bytes(b"half")
    assert web.call(tmp_path).status == 0
    assert not left.exists()
    assert tree(tmp_path) == WHOLE


def test_images_that_reports_name_and_that_are_not_there_are_told(web, tmp_path):
    web.server.put(PNG, packed(dict(list(FLAT.items())[1:])))
    ended = web.call(tmp_path)
    assert "left out: 1 image named by reports and not there" in ended.out
    spec = f"open_i:{tmp_path},missing=exclude"
    assert ended.out.endswith(f"--robustness-evalset {spec}\n")
    assert len(evalset.load(spec).pairs) == 11


def test_a_report_that_cannot_be_read_is_an_error_of_the_set(web, tmp_path):
    web.server.put(REPORTS, packed(FILES[REPORTS] | {"ecgen-radiology/3.xml": b"<a>"}))
    said_in_one_line(web.call(tmp_path), 1, "ecgen-radiology/3.xml", "not well-formed")
    assert (tmp_path / REPORTS).exists()
