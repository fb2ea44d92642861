from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from s3pot.data.datasets.companions import files_by_owner, owner_of


@pytest.mark.parametrize(
    ("file", "owner"),
    [
        ("a.png", "a"),
        ("a_clean.png", "a"),
        ("a_b_clean.png", "a_b"),
        ("a_c_clean.png", "a"),
        ("a", "a"),
        ("a_notes", "a"),
        ("a.jpg.xmp", "a"),
        ("a.jpg_original", "a"),
        ("v1.5_clean.png", "v1.5"),
        ("v1.5.png", "v1.5"),
        ("sub/a_clean.png", "sub/a"),
        # The image "b.jpg" is the file b.jpg.png; b.jpg itself is that of "b".
        ("b.jpg", "b"),
        ("b.jpg.png", "b.jpg"),
        ("ab_clean.png", None),
        ("_clean.png", None),
        ("other/a_clean.png", None),
        # Names of folders do not count, although they begin with the name of an image, too.
        ("a_more/c.json", None),
        ("a.d/c_clean.png", None),
        ("sub/a/c.json", None),
        ("a/_clean.png", None),
    ],
)
def test_the_owner_of_a_file(file: str, owner: str | None) -> None:
    names = {"a", "a_b", "v1.5", "sub/a", "b", "b.jpg"}
    assert owner_of(PurePath(file), names) == owner


def test_files_by_owner(tmp_path: Path) -> None:
    (tmp_path / "a_more").mkdir()
    for file in ("a.png", "a_clean.png", "a_more/c.json", "b.txt"):
        (tmp_path / file).touch()
    files = {".png": tmp_path / "a.png", "_clean.png": tmp_path / "a_clean.png"}
    assert files_by_owner(tmp_path, {"a", "c"}) == {"a": files}
    known = [tmp_path / "a.png", tmp_path / "b.txt"]
    assert files_by_owner(tmp_path, {"a", "c"}, known) == {"a": {".png": tmp_path / "a.png"}}
