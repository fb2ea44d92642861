"""Tables of scores as CSV, Markdown, LaTeX and images."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from s3pot.data.image import read_rgb
from s3pot.metrics import mask_scores
from s3pot.report.latex import escape, latex
from s3pot.report.plots import Bar, plot_intervals
from s3pot.report.rows import Evaluation, FaceScore, Provenance, TableRow, cell_values, make_row
from s3pot.report.tables import markdown, plot_rows, save, save_plot
from s3pot.statistics import paired_difference
from tests.builders import read_csv

PDFLATEX = shutil.which("pdflatex")
HOSTILE = "S³POT → a_b & 50 % {x} #1 $ ~ ^ \\ < | é"
KNOWN = Provenance(seed="321", commit="abc123", config="def456", weights="sam 0a1b")


def scored(row: str, shares: list[float], seconds: float | None = None) -> list[FaceScore]:
    """Faces of 10 x 10 pixels whose upper half is occluded, with the share of it that is found."""
    truth = np.zeros((10, 10), bool)
    truth[:5] = True
    entries = []
    for index, share in enumerate(shares):
        found = np.zeros((10, 10), bool)
        found.flat[: round(50 * share)] = True
        entries.append(FaceScore(row, f"face {index}", mask_scores(found, truth), seconds))
    return entries


def bare(row: str, found_pixels: list[int]) -> list[FaceScore]:
    entries = []
    for index, pixels in enumerate(found_pixels):
        found = np.zeros((10, 10), bool)
        found.flat[:pixels] = True
        scores = mask_scores(found, np.zeros((10, 10), bool))
        entries.append(FaceScore(row, f"bare {index}", scores))
    return entries


@pytest.fixture
def rows() -> list[TableRow]:
    main = scored("main", [0.4, 0.6, 0.8], seconds=0.5) + bare("main", [0, 4])
    better = scored("better_&_longer", [0.6, 0.8, 0.8], seconds=0.7) + bare("better", [0, 0])
    few = scored("few", [1.0])
    oracle = scored("oracle", [1.0, 1.0, 1.0])
    return [
        make_row("main | row", main, provenance=KNOWN),
        make_row("better_&_longer", better, main, KNOWN),
        make_row("one face", few, main, KNOWN),
        make_row("oracle", oracle, main, Provenance(seed="1"), oracle=True),
    ]


def test_a_row_is_compared_on_the_occluded_faces_of_both(rows: list[TableRow]) -> None:
    assert rows[0].difference is None
    assert rows[1].difference == paired_difference([0.6, 0.8, 0.8], [0.4, 0.6, 0.8])
    assert rows[2].difference is not None and rows[2].difference.pairs == 1
    assert rows[2].difference.mean == pytest.approx(0.6)
    assert rows[0].mask_seconds == 0.5 and rows[2].mask_seconds is None


def test_one_face_has_no_interval_in_any_table(tmp_path: Path, rows: list[TableRow]) -> None:
    save(tmp_path, Evaluation(rows, []))
    (csv_row,) = [row for row in read_csv(tmp_path / "table.csv") if row["name"] == "one face"]
    assert (csv_row["occlusion_iou"], csv_row["difference"]) == ("1.0", "0.6")
    for key in ("occlusion_iou", "difference"):
        assert (csv_row[f"{key}_low"], csv_row[f"{key}_high"]) == ("", "")
    (line,) = [text for text in markdown(rows).splitlines() if text.startswith("| one face |")]
    assert "| 1.000 |" in line and "| +0.600 |" in line and " to " not in line
    (line,) = [text for text in latex(rows).splitlines() if "one face &" in text]
    assert "1.000 &" in line and "$+0.600$ &" in line and r"\pm" not in line
    (axes,) = plot_rows(rows[2:3]).axes
    assert [text.get_text() for text in axes.texts] == ["1.000"]


def test_csv_has_all_values(tmp_path: Path, rows: list[TableRow]) -> None:
    save(tmp_path, Evaluation(rows, scored("main", [0.4, 0.6])))
    lines = read_csv(tmp_path / "table.csv")
    assert list(lines[0]) == list(cell_values(rows[0]))
    assert (lines[0]["occlusion_iou"], lines[0]["pooled_iou"]) == ("0.6", "0.6")
    assert (lines[0]["clean_faces"], lines[0]["false_alarms"]) == ("2", "0.5")
    assert lines[0]["false_alarm_share"] == "0.02"
    assert lines[1]["difference"] == "0.133333" and lines[1]["difference_p"] == "0.5"
    assert lines[0]["difference"] == lines[0]["difference_p"] == ""
    assert (lines[0]["seed"], lines[0]["commit"]) == ("321", "abc123")
    faces = read_csv(tmp_path / "per_image.csv")
    assert [face["face"] for face in faces] == ["face 0", "face 1"]
    assert (faces[0]["row"], faces[0]["iou"], faces[0]["region_pixels"]) == ("main", "0.4", "100")


def test_every_column_is_explained_in_the_manual(tmp_path: Path, rows: list[TableRow]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "USAGE.md").read_text(encoding="utf-8")
    save(tmp_path, Evaluation(rows, scored("main", [0.4])))
    for table in ("table.csv", "per_image.csv"):
        heading = f"| column of `{table}` | content |"
        lines = text.partition(heading)[2].partition("\n\n")[0].splitlines()
        names = [line.split("|")[1] for line in lines[2:]]
        explained = re.findall("`([a-z0-9_]+)`", " ".join(names))
        assert sorted(explained) == sorted(read_csv(tmp_path / table)[0])


def test_markdown_for_people(rows: list[TableRow]) -> None:
    lines = markdown(rows).splitlines()
    assert lines[0].startswith("| name | occlusion_iou (95 %) | f1 | precision | recall |")
    assert r"| main \| row | 0.600 (0.400 to 0.800) |" in lines[2]
    assert lines[3].endswith("| 0.000 | 0.000 | +0.133 (+0.000 to +0.200) | 0.500 |")
    assert lines[4].count("| - |") >= 1
    assert {line.count(" | ") for line in lines[:6]} == {lines[0].count(" | ")}
    assert any("seed 321, commit abc123, config def456, weights sam 0a1b" in line for line in lines)


def test_columns_without_values_are_left_out() -> None:
    text = markdown([make_row("a", scored("a", [0.5]))])
    assert "difference" not in text and "false_alarms" not in text and "seconds" not in text
    assert text.count("\n") == 3
    assert "difference" not in markdown([]) and r"\end{tabular}" in latex([])


def test_latex_marks_the_best_of_the_rivals(rows: list[TableRow]) -> None:
    text = latex(rows)
    lines = {line.split(" & ")[0]: line for line in text.splitlines() if " & " in line}
    assert r"\textbf{0.733} {\scriptsize $\pm$\,.100}" in lines[r"better\_\&\_longer"]
    assert r"\textbf" not in lines[r"main \textbar{} row"]
    assert r"\textbf" not in lines["one face"] and r"\textbf" not in lines["oracle"]
    assert text.rindex(r"\midrule") < text.index("oracle &")
    assert r"$+0.133$ {\scriptsize $\pm$\,.100}" in text
    columns = text[text.index(r"{tabular}{@{}") + 13 :].split("@")[0]
    assert set(columns) == {"l", "c"}
    assert all(line.count(" & ") == len(columns) - 1 for line in lines.values())


def test_the_time_is_called_what_it_is(rows: list[TableRow]) -> None:
    """It leaves out most of the method, so it must not pass for the time of a face."""
    comments = " ".join(line[2:] for line in latex(rows).splitlines() if line.startswith("% "))
    assert "Mask, s: mean wall time from a face's prompts to its mask" in comments
    assert "without reference generation, SAM's encoder, FE and PS" in comments
    assert " & Mask, s & " in latex(rows) and "| mask_seconds |" in markdown(rows)


def test_the_legend_explains_only_the_columns_of_the_table(rows: list[TableRow]) -> None:
    def legend(text: str) -> str:
        return " ".join(line[2:] for line in text.splitlines() if line.startswith("% "))

    scores_only = legend(latex([make_row("all", scored("all", [0.5, 0.6]))]))
    assert "Pooled:" in scores_only and "+-:" in scores_only
    for word in ("Mask, s", "Delta IoU", "FA:"):
        assert word not in scores_only and word in legend(latex(rows))


def test_rows_that_print_the_same_are_all_best() -> None:
    rows = [make_row(name, scored(name, [0.5, 0.6])) for name in ("a", "b")]
    lines = [line for line in latex(rows).splitlines() if r"{\scriptsize" in line]
    assert all(line[4:].startswith(r"\textbf{0.550}") for line in lines) and len(lines) == 2


def test_latex_escapes() -> None:
    assert escape("a_b & 50 % {x} #1 $ ~ ^ \\ <") == (
        r"a\_b \& 50 \% \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textless{}"
    )
    assert escape("two\nlines") == "two lines"


@pytest.mark.skipif(PDFLATEX is None, reason="needs pdflatex (texlive-latex-base) on the PATH")
def test_latex_compiles(tmp_path: Path, rows: list[TableRow]) -> None:
    hostile = make_row(HOSTILE, scored("x", [0.5]), provenance=KNOWN)
    document = (
        r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs}"
        r"\begin{document}\tiny " + latex([*rows, hostile]) + r"\end{document}"
    )
    compile_latex(document, tmp_path)


@pytest.mark.skipif(PDFLATEX is None, reason="needs pdflatex (texlive-latex-base) on the PATH")
@pytest.mark.parametrize("name", ["S3POT", "SAM, automatic masks, best overlap (needs labels)"])
def test_latex_fits_a_page_of_two_columns(tmp_path: Path, rows: list[TableRow], name: str) -> None:
    main = scored("main", [0.4, 0.6, 0.8], seconds=0.5) + bare("main", [0, 4])
    long = scored(name, [0.61, 0.812, 0.883], seconds=123.456) + bare("x", [0, 60])
    full = make_row(name, long, main, KNOWN)
    document = (
        r"\documentclass[twocolumn,10pt]{article}\usepackage{booktabs}"
        r"\setlength{\textwidth}{6.875in}"  # of CVPR and ICCV, the narrowest of the usual ones
        r"\begin{document}x\begin{table*}\centering "
        + latex([full, *rows])
        + r"\caption{x}\end{table*}\end{document}"
    )
    log = compile_latex(document, tmp_path)
    assert "Overfull" not in log
    if len(name) > 30:
        assert r"\raggedright" in document  # the long name is what makes it break


@pytest.mark.skipif(PDFLATEX is None, reason="needs pdflatex (texlive-latex-base) on the PATH")
def test_latex_fits_a_narrower_page_as_its_first_lines_say(
    tmp_path: Path, rows: list[TableRow]
) -> None:
    text = latex(rows)
    (advice,) = [line for line in text.splitlines() if "resizebox" in line]
    assert r"\resizebox{\textwidth}{!}{\input{table}}" in advice
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")
    document = (
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
        r"\begin{table}\centering\resizebox{\textwidth}{!}{\input{table}}\end{table}\end{document}"
    )
    assert "Overfull" not in compile_latex(document, tmp_path)


def compile_latex(document: str, tmp_path: Path) -> str:
    """Run pdflatex, which has to succeed; returns its log."""
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    assert PDFLATEX is not None
    done = subprocess.run(
        [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
    return done.stdout


@pytest.mark.figures
@pytest.mark.slow
def test_the_picture_shows_every_row(tmp_path: Path, rows: list[TableRow]) -> None:
    save_plot(tmp_path, Evaluation(rows, []))
    picture = read_rgb(tmp_path / "table.png")
    assert (picture != 255).any()
    assert (tmp_path / "table.pdf").read_bytes().startswith(b"%PDF")
    first = (tmp_path / "table.pdf").read_bytes()
    save_plot(tmp_path, Evaluation(rows, []))
    assert (tmp_path / "table.pdf").read_bytes() == first
    save_plot(tmp_path, Evaluation(rows[:1], []))
    assert len(read_rgb(tmp_path / "table.png")) < len(picture)
    save_plot(tmp_path / "empty", Evaluation([make_row("bare", bare("bare", [0]))], []))
    assert (tmp_path / "empty" / "table.png").is_file()


def test_rows_over_different_faces_tell_how_many(rows: list[TableRow]) -> None:
    (axes,) = plot_rows(rows).axes
    names = ["main | row (3)", "better_&_longer (3)", "one face (1)", "oracle (3)"]
    assert [text.get_text() for text in axes.get_yticklabels()] == names
    assert "(number of faces)" in axes.get_xlabel()
    (axes,) = plot_rows(rows[:2]).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["main | row", "better_&_longer"]
    assert "number" not in axes.get_xlabel()


def test_one_row_alone_stands_on_the_whole_scale_with_its_numbers() -> None:
    bars = [Bar("all", 0.739, 0.695, 0.781), Bar("other", 0.5, 0.4, 0.6)]
    (axes,) = plot_intervals(bars[:1], "IoU").axes
    assert axes.get_xlim() == (0, 1)
    assert [text.get_text() for text in axes.texts] == ["0.739 (0.695 to 0.781)"]
    (axes,) = plot_intervals(bars, "IoU").axes
    assert 0.3 < axes.get_xlim()[0] and axes.get_xlim()[1] < 0.9
    assert not axes.texts
