"""Inspection: why a run errs. Which of its training distortions made a picture look like another class?"""

from deeper.inspection.board import board_folder as board_folder
from deeper.inspection.board import write_board as write_board
from deeper.inspection.inspecting import inspect as inspect
from deeper.inspection.plain import to_plain as to_plain
from deeper.inspection.result import Against as Against
from deeper.inspection.result import Cause as Cause
from deeper.inspection.result import Collision as Collision
from deeper.inspection.result import Evidence as Evidence
from deeper.inspection.result import Inspection as Inspection
from deeper.inspection.result import JudgeFacts as JudgeFacts
from deeper.inspection.result import Pair as Pair
from deeper.inspection.result import Placebo as Placebo
from deeper.inspection.result import Slice as Slice
from deeper.inspection.result import Wrong as Wrong
from deeper.inspection.writing import write as write
