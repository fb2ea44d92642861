"""Models and commands outside of the main thread of the main process.

Reported at gradio #2637, sd-webui-facefusion #21 (threads) and at pytorch #31596,
segment-anything #450 (forked workers).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Callable

import pytest

import inference
import train_general
from tests.fresh_python import FreshPython

Make = Callable[..., Path]

# Segments in the parent, then in forked workers, with one model that was loaded before.
FORKED = """
import multiprocessing
import torch
import s3pot
from s3pot_synthetic import draw_face

torch.set_num_threads(2)  # the threads of the parent do not exist in a worker
model = s3pot.load("mini", device="cpu")
images = [draw_face(index, 96, "train", seed=3).raw for index in range(2)]

def occluded(is_batch):
    faces = model.segment_batch(images) if is_batch else [model.segment(images[0])]
    return [int(face.occlusion.sum()) for face in faces]

in_parent = [occluded(False), occluded(True)]
with multiprocessing.get_context("fork").Pool(2) as workers:
    in_workers = workers.map(occluded, [False, True])
assert min(in_parent[1]) > 0
print("equal" if in_parent == in_workers else f"{in_parent} and {in_workers}")
"""


def run_in_a_thread(main: Callable[[list[str]], int], arguments: list[str]) -> int:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(arguments)))
    thread.start()
    thread.join()
    (code,) = codes
    return code


def test_commands_run_in_a_worker_thread(
    tmp_path: Path, processed_folder: Make, mini_options: list[str]
) -> None:
    data = str(processed_folder(2))
    trained = tmp_path / "adapter"
    arguments = ["--datapath", data, "--output_dir", str(trained), "--epochs", "1", *mini_options]
    assert run_in_a_thread(train_general.main, arguments) == 0
    results = tmp_path / "results"
    arguments = ["--datapath", data, "--output_dir", str(results), *mini_options]
    checkpoint = ["--checkpoint", str(trained / "last.pth")]
    assert run_in_a_thread(inference.main, [*arguments, *checkpoint]) == 0
    assert len(list(results.glob("*_result.json"))) == 2


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_workers_answer_as_their_parent_does(fresh_python: FreshPython) -> None:
    done = fresh_python.run(FORKED, timeout=240)  # only a hang takes so long
    assert done.stdout.splitlines() == ["equal"], done.stderr
