"""The statements of README.md and the documents are true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from readme_commands import ROOT, commands, load_script, parse_command, program_and_arguments

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
IN_DOCUMENTS = [(path.name, command) for path in DOCUMENTS for command in commands(path)]
MINI = ["--config", str(ROOT / "configs" / "mini.yaml")]

FIVE_COMMANDS = """\
python generate_reference.py --input_dir ./dataset/raw_images --output_dir ./dataset/processed_data --faceParser_name bisenet
python train_general.py --datapath ./dataset/processed_data --bsz 3 --lr 1e-4 --epochs 50 --output_dir ./checkpoint/train_general
python train_per_image.py --target_img ./dataset/processed_data/test_01.png --ref_img ./dataset/processed_data/test_01_ref.png \\
    --parsing_mask ./dataset/processed_data/test_01_parsing_mask.npy --epochs 100
python inference.py --datapath ./dataset/processed_data/val --checkpoint ./checkpoint/train_general/model_epoch_50.pth --output_dir ./results --save_vis
python evaluate.py --datapath ./dataset/processed_data/val --results ./results
"""  # noqa: E501 - verbatim


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_five_commands_are_verbatim() -> None:
    assert FIVE_COMMANDS in readme()


def test_the_demo_runs_the_five_commands() -> None:
    demo = " ".join((ROOT / "demo.sh").read_text(encoding="utf-8").replace("\\\n", " ").split())
    for command in FIVE_COMMANDS.replace("\\\n", " ").splitlines():
        assert " ".join(command.split()[1:]) in demo, command


@pytest.mark.parametrize(
    ("document", "command"), IN_DOCUMENTS, ids=[f"{d}-{' '.join(c)[:60]}" for d, c in IN_DOCUMENTS]
)
def test_command_is_understood(document: str, command: list[str]) -> None:
    parse_command(command)


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(pytest.fail.Exception, match="--no_such_option"):
        parse_command(shlex.split("python evaluate.py --datapath a --results b --no_such_option"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    anchors = {
        "#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.M)
    }
    for link in links:
        if link.startswith("#"):
            assert link in anchors, link
        elif "://" not in link:
            assert (document.parent / link.partition("#")[0]).exists(), link


def test_files_named_in_the_documents_exist() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        names = re.findall(r"`((?:s3pot|configs|docs|tests|tools|benchmarks)/[\w./-]*)`", text)
        for name in names:
            assert (ROOT / name).exists(), f"{document.name}: {name}"


def test_every_config_key_named_in_the_documents_exists() -> None:
    from s3pot.config import Config, config_to_dict

    known = config_to_dict(Config())
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for section, key in re.findall(rf"`({'|'.join(known)})\.([a-z_]+)(?:=[^`]*)?`", text):
            assert key in known[section] or key in ("py", "pth", "csv"), (
                f"{document.name}: {section}.{key}"
            )


def test_python_example_uses_what_the_package_exports() -> None:
    import s3pot

    block = re.search(r"```python\n(.*?)```", readme(), re.S)
    assert block is not None
    compile(block[1], "README.md", "exec")
    for name in re.findall(r"s3pot\.(\w+)\(", block[1]):
        assert callable(getattr(s3pot, name)), name


def draw_faces(folder: Path) -> None:
    """Draw a small demo folder: two training faces and one held out, also as test_01."""
    draw = program_and_arguments(["python", "-m", "s3pot_synthetic"])[0].main
    for name, count, split in (("train", 2, "train"), ("val", 1, "bench")):
        options = ["--subdir", name, "--count", str(count), "--seed", "5", "--split", split]
        options += ["--size", "128"]
        assert draw(["--out", str(folder), *options]) == 0
    face = next((folder / "raw_images" / "val").glob("*.png"))
    (folder / "raw_images" / "test_01.png").write_bytes(face.read_bytes())


def with_few_epochs(text: str) -> str:
    """The commands with 2 epochs instead of 50 or 100, for the same but less work."""
    changes = {"--epochs 50": "--epochs 2", "--epochs 100": "--epochs 2"}
    changes["model_epoch_50.pth"] = "model_epoch_2.pth"
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.mark.figures
@pytest.mark.slow
def test_the_five_commands_run_on_drawn_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_faces(tmp_path / "dataset")
    for line in with_few_epochs(FIVE_COMMANDS).replace("\\\n", " ").splitlines():
        script, *arguments = shlex.split(line)[1:]
        if script == "generate_reference.py":
            arguments += ["--truth_dir", "./dataset/truth"]
        assert load_script(script).main([*arguments, *MINI]) == 0, line
    results = tmp_path / "results"
    stem = next((tmp_path / "dataset" / "raw_images" / "val").glob("*.png")).stem
    for ending in ("_occlusion.png", "_face.png", "_parsing.npy"):
        assert (results / f"{stem}{ending}").is_file(), ending
    assert (results / "index.html").is_file()
    assert (results / "summary.csv").is_file()
    assert (tmp_path / "checkpoint" / "train_general" / "model_epoch_2.pth").is_file()
    assert any((results / "per_image").iterdir())


@pytest.mark.slow
def test_every_file_of_the_packages_stands_in_the_architecture_document() -> None:
    from tools.file_list import DOCUMENT, updated

    text = DOCUMENT.read_text(encoding="utf-8")
    assert updated(text) == text, "run: python -m tools.file_list"
