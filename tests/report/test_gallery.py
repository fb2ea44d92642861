"""The gallery: numbers, relative links that resolve, escaped names, atomic writing."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from s3pot.data.image import write_png
from s3pot.io import write_csv, write_json
from s3pot.metrics import mask_scores
from s3pot.report.gallery import (
    VIEWS,
    TruthChanges,
    doubt_of,
    headline_facts,
    update_gallery,
    write_gallery,
)
from s3pot.report.page import relative_link
from s3pot.report.summary import Failure
from s3pot.report.writer import write_summary
from s3pot.statistics import bootstrap_interval

VOID = ("meta", "img", "input", "link")
HOSTILE = "sub/<b> & \"q\" 's' #1?%20 ü</script>"


class Reader(HTMLParser):
    """Collects links, articles and text, and checks that tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.articles: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for key, value in attrs if key in ("href", "src") and value]
        if tag == "article":
            self.articles.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(path: Path) -> Reader:
    page = Reader()
    page.feed(path.read_text(encoding="utf-8"))
    assert not page.open
    page.links = [link for link in page.links if link != "data:,"]  # no icon is requested
    return page


def row(name: str, iou: float | None = None, **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"occluded": "yes", "occluded_share": 0.123, "occlusion_iou": iou}
    return {"name": name, **values, "positive_points": 7, "negative_points": 2, **more}


def test_links_are_relative_and_resolve_whatever_the_name(tmp_path: Path) -> None:
    for kind in ("raw", "overlay"):
        write_png(tmp_path / f"{HOSTILE}_{kind}.png", np.zeros((4, 4, 3), np.uint8))
    write_gallery(tmp_path, [row(HOSTILE, quality="doubtful: <i>blob</i>", kinds="<u> a&b")])
    page = read(tmp_path / "index.html")
    assert len(page.links) == 4
    for link in page.links:
        assert ":" not in link and not link.startswith("/")
        assert (tmp_path / unquote(link)).is_file()
    assert HOSTILE in page.text
    assert "doubtful: <i>blob</i>" in page.text
    assert page.articles[0]["data-name"] == HOSTILE
    assert page.articles[0]["data-kinds"] == "<u> a&b"


def test_a_link_may_leave_the_folder_of_the_page(tmp_path: Path) -> None:
    assert relative_link(tmp_path / "a b" / "c#.png", tmp_path / "out") == "../a%20b/c%23.png"


def test_card_shows_the_numbers(tmp_path: Path) -> None:
    write_gallery(tmp_path, [row("b", 0.5), row("a", occluded="no", occluded_share=0.0)])
    page = read(tmp_path / "index.html")
    assert [entry["data-name"] for entry in page.articles] == ["a", "b"]
    assert [entry["data-occluded"] for entry in page.articles] == ["no", "yes"]
    assert [entry.get("data-sort-iou") for entry in page.articles] == [None, "0.5"]
    assert page.articles[1]["data-sort-share"] == "0.123"
    assert "12.3%" in page.text and page.text.count("7 face, 2 occlusion") == 2
    assert page.text.count("IoU") == 1 and "0.500" in page.text


def test_only_pictures_that_exist_have_a_button(tmp_path: Path) -> None:
    write_png(tmp_path / "a_error.png", np.zeros((4, 4, 3), np.uint8))
    write_gallery(tmp_path, [row("a"), row("b")])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert [view.key for view in VIEWS if f'data-view="{view.key}" aria' in text] == ["error"]


def test_headline_of_a_scored_run() -> None:
    ious = [0.2, 0.6, 1.0]
    rows = [row(str(index), iou, true_share=0.3) for index, iou in enumerate(ious)]
    rows += [
        row("bare, called occluded", 0.0, true_share=0.0, occluded_share=0.04),
        row("bare", 1.0, true_share=0.0, occluded="no", occluded_share=0.0),
        row("no truth", quality="doubtful: no face found", true_share=None),
    ]
    facts = {fact.title: fact for fact in headline_facts(rows)}
    assert facts["faces"].value == "6"
    assert facts["occluded"].value == "5" and facts["occluded"].note == "1 not"
    assert facts["doubtful"].value == "1"
    assert facts["mean occlusion IoU"].value == "0.600"
    interval = bootstrap_interval(ious)
    assert interval is not None
    note = f"95 % interval {interval.low:.3f} to {interval.high:.3f}, 3 faces"
    assert facts["mean occlusion IoU"].note == note
    assert facts["false alarms"].value == "1"
    assert facts["false alarms"].note == "of 2 unoccluded faces; mean share 2.0%"


def test_one_face_has_no_interval() -> None:
    (fact,) = [fact for fact in headline_facts([row("a", 0.6)]) if fact.title.startswith("mean")]
    assert (fact.value, fact.note) == ("0.600", "1 face")


def test_headline_without_truth_has_no_scores() -> None:
    assert [fact.title for fact in headline_facts([row("a")])] == ["faces", "occluded"]
    assert [fact.title for fact in headline_facts([])] == ["faces", "occluded"]


@pytest.mark.parametrize(
    ("quality", "doubt"),
    [
        (None, ""),
        ("ok", ""),
        ("doubtful: no face found", "no face found"),
        ("doubtful", "doubtful"),
    ],
)
def test_doubt_is_the_reason(quality: str | None, doubt: str) -> None:
    assert doubt_of({"quality": quality}) == doubt


def test_later_scores_and_kinds_come_into_the_page(tmp_path: Path) -> None:
    rows = [row("a"), row("b"), row("c", 0.9)]
    write_json(tmp_path / "summary.json", rows)
    update_gallery(tmp_path, {}, {}, TruthChanges())
    assert not (tmp_path / "index.html").exists()  # none was requested
    failure = Failure("bad", "read", "it is <b>cut</b> off")
    write_json(tmp_path / "summary.json", [*rows, failure.to_row()])
    write_gallery(tmp_path, rows)
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    scores = {"a": mask_scores(truth, truth), "b": mask_scores(truth, truth & False)}
    update_gallery(tmp_path, scores, {"a": {"hand", "cup"}}, TruthChanges())
    page = read(tmp_path / "index.html")
    assert [entry.get("data-sort-iou") for entry in page.articles] == ["1.0", "0.0", "0.9"]
    assert [entry["data-kinds"] for entry in page.articles] == ["cup hand", "", ""]
    assert "of 1 unoccluded face; mean share 12.3%" in page.text
    assert "bad failed (read): it is <b>cut</b> off" in page.text
    assert page.text[page.text.index("failed") + 1] == "1"


def test_pictures_of_a_truth_that_changed_are_left_out(tmp_path: Path) -> None:
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    changes = TruthChanges(
        changed=frozenset({"changed", "added"}),
        removed=frozenset({"removed"}),
        other_rules=frozenset({"other rules", "unscored"}),
    )
    rows = [row(name, 0.5) for name in ("same", "other rules", "changed", "removed", "unscored")]
    rows.append(row("added"))  # it had no truth, so there are no pictures of it
    write_json(tmp_path / "summary.json", rows)
    for entry in rows[:-1]:
        for key in ("overlay", "truth", "error"):
            write_png(tmp_path / f"{entry['name']}_{key}.png", np.zeros((4, 4, 3), np.uint8))
    write_gallery(tmp_path, rows)
    names = ("same", "other rules", "changed", "added")
    update_gallery(tmp_path, {name: mask_scores(truth, truth) for name in names}, {}, changes)
    page = read(tmp_path / "index.html")
    for key, shown in (("overlay", 5), ("truth", 3), ("error", 3)):
        links = {unquote(link) for link in page.links if link.endswith(f"_{key}.png")}
        assert len(links) == shown
        assert ({f"changed_{key}.png", f"removed_{key}.png"} <= links) == (key == "overlay")
    assert page.text.count("changed after the pictures were drawn") == 2
    ious = {entry["data-name"]: entry.get("data-sort-iou") for entry in page.articles}
    assert ious == {**dict.fromkeys(names, "1.0"), "removed": None, "unscored": "0.5"}
    assert any("in the pictures of 1 face follows other settings" in text for text in page.text)


def test_a_face_is_occluded_in_the_page_according_to_the_truth_of_its_score(tmp_path: Path) -> None:
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    rows = [row("was empty", 0.0, true_share=0.0), row("is empty", 0.6, true_share=0.4)]
    write_json(tmp_path / "summary.json", rows)
    write_gallery(tmp_path, rows)
    scores = {"was empty": mask_scores(truth, truth), "is empty": mask_scores(truth, truth & False)}
    update_gallery(tmp_path, scores, {}, TruthChanges(changed=frozenset(scores)))
    text = read(tmp_path / "index.html").text
    assert text[text.index("mean occlusion IoU") + 1] == "1.000"
    assert "of 1 unoccluded face; mean share 12.3%" in text


def test_a_page_of_another_program_stays(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text("<html><title>my notes</title></html>")
    write_json(tmp_path / "summary.json", [row("a", 1.0)])
    write_summary(tmp_path, [row("a", 1.0)], gallery=False)
    update_gallery(tmp_path, {}, {}, TruthChanges())
    assert "my notes" in page.read_text()
    write_gallery(tmp_path, [row("a", 1.0)])
    write_summary(tmp_path, [row("b", 1.0)], gallery=False)
    assert ">b<" in page.read_text(encoding="utf-8")


def test_before_and_after_fitting(tmp_path: Path) -> None:
    rows = [row("a", 0.75), row("b"), row("old run", 0.5)]
    lines = [
        ("a", "fresh", -0.2, 0.4, 0.5),
        ("a", "general", -0.5, 0.2, 0.625),
        ("a", "fitted", -0.75, 0.123, 0.75),
        ("b", "fresh", -0.25, 0.4, None),
        ("b", "fitted", -0.75, 0.123, None),
        ("old run", "fitted", -0.75, 0.999, 0.75),
    ]
    keys = ("name", "adapter", "loss", "occluded_share", "occlusion_iou")
    write_csv(tmp_path / "adapters.csv", [dict(zip(keys, line)) for line in lines])
    write_gallery(tmp_path, rows)
    page = read(tmp_path / "index.html")
    assert [entry.get("data-sort-gain") for entry in page.articles] == ["0.125", "0.5", None]
    assert "loss -0.500, 20.0%, IoU 0.625" in page.text
    assert "loss -0.250, 40.0%" in page.text
    assert page.text.count("fitted adapter") == 2


@pytest.mark.parametrize("change", ["changed", "other_rules"])
def test_scores_of_adapters_by_another_truth_are_left_out(tmp_path: Path, change: str) -> None:
    keys = ("name", "adapter", "loss", "occluded_share", "occlusion_iou")
    lines = [("a", "fresh", -0.25, 0.4, 0.5), ("a", "fitted", -0.75, 0.123, 0.625)]
    write_csv(tmp_path / "adapters.csv", [dict(zip(keys, line)) for line in lines])
    write_json(tmp_path / "summary.json", [row("a", 0.625)])
    write_gallery(tmp_path, [row("a", 0.625)])
    assert "loss -0.250, 40.0%, IoU 0.500" in read(tmp_path / "index.html").text
    truth = np.ones((4, 4), bool)
    changes = TruthChanges(**{change: frozenset({"a"})})
    update_gallery(tmp_path, {"a": mask_scores(truth, truth)}, {}, changes)
    page = read(tmp_path / "index.html")
    assert "loss -0.250, 40.0%" in page.text and "loss -0.750, 12.3%" in page.text
    assert page.articles[0].get("data-sort-gain") is None


def test_page_is_light_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    for index in range(50):
        (tmp_path / f"face {index}_raw.png").touch()
    write_gallery(tmp_path, [row(f"face {index}") for index in range(50)])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "<script src" not in text
    assert 'name="viewport"' in text
    assert text.count("<article") == 50
    assert text.count("<img loading=") == text.count('loading="lazy"') == 50
    empty = tmp_path / "empty"
    write_gallery(empty, [])
    assert len(text) - len((empty / "index.html").read_text(encoding="utf-8")) < 50 * 1000


def test_orders_that_no_face_has_a_number_for_are_not_offered(tmp_path: Path) -> None:
    row = {"name": "a", "occluded": "yes", "occluded_share": 0.1, "quality": "ok"}
    write_gallery(tmp_path, [row])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "occluded share, largest first" in page
    assert "worst first" not in page and "gained most first" not in page
    write_gallery(tmp_path, [{**row, "occlusion_iou": 0.5}])
    assert "worst first" in (tmp_path / "index.html").read_text(encoding="utf-8")
