"""Tables of variants and baselines: the rows of a suite, run on the same faces.

The scores of each face in each row are kept in ``<output_dir>/rows``, so that for an interrupted or
extended table only what is missing is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from s3pot.config import Config, save_config
from s3pot.data.output_guard import refuse_data_folder, refuse_other_kinds
from s3pot.data.truth import describe_truth
from s3pot.data.truth_paths import faces_with_truth
from s3pot.metrics import MaskScores
from s3pot.report.rows import Evaluation, FaceScore, Provenance, TableRow, make_row
from s3pot.report.summary import Failure, write_failures
from s3pot.report.tables import save, save_plot
from s3pot.runs.folder_job import Outcome
from s3pot.runs.folder_run import finished_content, run_folder
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.runs.shard import Shard
from s3pot.runs.suite_file import Suite, missing_folders
from s3pot.runs.suite_job import RowFace, SuiteJob, plan_items
from s3pot.runs.suite_loading import load_rows
from s3pot.runs.suite_rows import LoadedRow
from s3pot.types import S3potError
from s3pot.wording import counted

COMMAND = "evaluate --suite"  # by which its folders are recognized


def evaluate_suite(
    config: Config,
    suite: Suite,
    output_dir: Path,
    overwrite: bool = False,
    shard: Shard | None = None,
) -> Evaluation:
    """Compute the missing parts of a table, and save it.

    Args:
        config: The config that the rows override.
        suite: The rows and the faces.
        output_dir: Folder for the table.
        overwrite: Also compute finished scores again.
        shard: The share of this process. Only a run without a share saves the table.

    Raises:
        S3potError: A folder is missing, no face has a ground truth, weights are missing, no face
            can be scored, or the output folder holds something of another command.
    """
    refuse_data_folder(output_dir, [suite.datapath])
    refuse_other_kinds(output_dir, COMMAND)
    shard = shard or Shard()
    absent = missing_folders(suite)
    if absent:
        raise S3potError(" ".join(absent))
    for folder in suite.folders_of_faces().values():
        warn_of_outdated_faces(folder)
    faces = faces_with_truth(suite.datapath)[: suite.limit or None]
    rows = load_rows(config, suite, output_dir)
    plan = [shard.of(items) for items in plan_items(rows, faces)]
    save_config(config, output_dir, COMMAND)
    job = TableJob(suite, rows, plan, output_dir, saves=shard.is_whole)
    if not overwrite:
        job.take_finished()
    for items in plan:
        missing = [item for item in items if not job.has(item)]
        if missing:
            run_folder(job, missing, keep_finished=False)
    job.save_table()
    evaluation = job.evaluation()
    if job.failures and not evaluation.faces:
        failures = counted(len(job.failures), "failure")
        raise S3potError(f"no face could be scored in any row ({failures})")
    if shard.is_whole:
        save_plot(output_dir, evaluation)
    shard.log_end()
    return evaluation


class TableJob(SuiteJob):
    """Score each face in each row, and save the table of the rows that are complete.

    Args:
        suite: The rows as in the file.
        rows: The same rows, loaded.
        plan: All items of the table, or this process's share of them.
        output_dir: Folder for the table.
        saves: Whether this process writes the table.
    """

    def __init__(
        self,
        suite: Suite,
        rows: Sequence[LoadedRow],
        plan: Sequence[Sequence[RowFace]],
        output_dir: Path,
        saves: bool,
    ) -> None:
        workers = max((loaded.workers for loaded in rows), default=1)
        super().__init__(output_dir / "rows", workers)
        self.suite = suite
        self.rows = rows
        self.items = [item for items in plan for item in items]
        self.output_dir = output_dir
        self.saves = saves
        self.provenances = {loaded.row.name: loaded.provenance() for loaded in rows}
        self.scores: dict[tuple[str, str], FaceScore] = {}  # by the names of row and face
        self.failures: list[Failure] = []

    def take_finished(self) -> None:
        """Load the scores of an earlier run that are still valid."""
        for item in self.items:
            content = finished_content(self, item)
            if content is not None:
                self._add(content)

    def has(self, item: RowFace) -> bool:
        """Whether the score of a face in a row is known."""
        return (item.loaded.row.name, item.files.name) in self.scores

    @override
    def summarize(self, outcome: Outcome) -> None:
        for content in outcome.contents:
            self._add(content)
        self.failures += outcome.failures
        self.save_table()

    def save_table(self) -> None:
        """Write the table of the complete rows, if this process handles the whole table."""
        if self.saves:
            save(self.output_dir, self.evaluation())
            write_failures(self.output_dir, self.failures)

    def _add(self, content: dict[str, Any]) -> None:
        score = FaceScore(
            row=content["row"],
            face=content["face"],
            scores=MaskScores(**content["scores"]),
            mask_seconds=content["seconds"],
        )
        self.scores[score.row, score.face] = score

    def evaluation(self) -> Evaluation:
        """Summarize the complete rows: each of their faces is scored or has failed."""
        failed = {failure.name for failure in self.failures}
        faces_of: dict[str, list[FaceScore]] = {}
        open_rows: set[str] = set()
        for item in self.items:
            row_name = item.loaded.row.name
            faces_of.setdefault(row_name, [])
            if self.has(item):
                faces_of[row_name].append(self.scores[row_name, item.files.name])
            elif self.name(item) not in failed:
                open_rows.add(row_name)
        complete = {name: faces for name, faces in faces_of.items() if name not in open_rows}
        return Evaluation(
            rows=self._table_rows(complete),
            faces=[score for loaded in self.rows for score in complete.get(loaded.row.name, [])],
            failed=len(self.failures),
        )

    def _provenance(self, loaded: LoadedRow) -> Provenance:
        """Return the provenance of a row's numbers, and what its faces are scored against."""
        faces = [item.files for item in self.items if item.loaded is loaded]
        provenance = self.provenances[loaded.row.name]
        return replace(provenance, truth=describe_truth(faces, loaded.truth_policy))

    def _table_rows(self, complete: dict[str, list[FaceScore]]) -> list[TableRow]:
        """Summarize rows, compared with the main row once that is complete."""
        table = []
        for loaded in self.rows:
            name = loaded.row.name
            if name in complete:
                is_main = name == self.suite.main
                row = make_row(
                    name,
                    complete[name],
                    main=() if is_main else complete.get(self.suite.main, ()),
                    provenance=self._provenance(loaded),
                    oracle=loaded.row.sees_the_truth,
                )
                table.append(row)
        return table
