"""The course for nbgrader. `nbgrader generate_assignment`, `validate` and `autograde` work from this folder with it.

solutions/ is the source, lessons/exercises/ the release; submissions, grades and feedback live in classroom/.
"""
import os
import sys
import sysconfig
from pathlib import Path

from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
    OverwriteCells,
    OverwriteKernelspec,
    SaveCells,
)

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from helpers.grading.course import STUB  # noqa: E402
from helpers.grading.execute import CELL_SECONDS, GradingExecute, seconds_allowed  # noqa: E402
from helpers.grading.release import Tidy  # noqa: E402
from helpers.grading.restore import RestoreCells  # noqa: E402

# nbgrader runs `alembic` to make its gradebook; it is not on PATH when the environment is used without being activated.
SCRIPTS = sysconfig.get_path("scripts")
if SCRIPTS not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = SCRIPTS + os.pathsep + os.environ.get("PATH", "")

c = get_config()  # noqa: F821 (traitlets defines it)

c.CourseDirectory.root = str(ROOT)
c.CourseDirectory.source_directory = "solutions"
# Forward slashes on every system: nbgrader puts these names into a regular expression.
c.CourseDirectory.release_directory = "lessons/exercises"
for step in ("source_with_tests", "submitted", "autograded", "feedback", "solution"):
    c.CourseDirectory[f"{step}_directory"] = f"classroom/{step}"
(ROOT / "classroom").mkdir(exist_ok=True)
c.CourseDirectory.db_url = f"sqlite:///{(ROOT / 'classroom' / 'gradebook.db').as_posix()}"

c.GenerateAssignment.preprocessors = [
    LockCells, ClearSolutions, ClearOutput, CheckCellMetadata, ComputeChecksums, SaveCells, ClearHiddenTests, ClearMarkScheme,
    ComputeChecksums, CheckCellMetadata, Tidy,
]
c.ClearSolutions.code_stub = {"python": f'raise NotImplementedError("{STUB}")'}

# Grading: deleted, edited and duplicated cells are put right first, so that one such cell cannot lose a submission.
c.RestoreCells.root = str(ROOT)
c.Autograde.sanitize_preprocessors = [ClearOutput, RestoreCells, OverwriteKernelspec, OverwriteCells, CheckCellMetadata]
c.Autograde.autograde_preprocessors = [
    GradingExecute, "nbconvert.preprocessors.ClearMetadataPreprocessor", "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades", "nbgrader.preprocessors.AssignLatePenalties", CheckCellMetadata,
]

c.Validator.width = 160  # characters of a line; it cuts off what is longer, such as a message with advice

# What follows holds for `check`, `autograde`, `validate` and the Validate button alike.
c.Execute.kernel_name = "python3"  # whatever an editor wrote into the notebook
c.Execute.timeout = CELL_SECONDS
c.Execute.timeout_func = seconds_allowed
c.Execute.skip_cells_with_tag = ""  # or a test cell with the tag "skip-execution" would count as passed
c.Execute.record_timing = False
c.Execute.shutdown_kernel = "immediate"
# nbgrader scores a test cell with output on stderr as failed, so the kernel sends what arrives there (Python's sys.stderr and
# the file descriptor 2 that C libraries write to) under the name of stdout.
c.Execute.extra_arguments = ["--log-level=ERROR", "--IPKernelApp.exec_lines=import sys; sys.stderr.name = 'stdout'; del sys"]
