"""Runs: joins loop, monitor, checkpoint and bundle into a run folder. What a user calls from Python."""

from deeper.runs.dataset import dataset_for as dataset_for
from deeper.runs.folder import Config as Config
from deeper.runs.folder import Fold as Fold
from deeper.runs.folder import Loaded as Loaded
from deeper.runs.folder import Run as Run
from deeper.runs.interrupts import Interrupts as Interrupts
from deeper.runs.judging import compare_runs as compare_runs
from deeper.runs.judging import evaluate_run as evaluate_run
from deeper.runs.judging import judged_on as judged_on
from deeper.runs.judging import knows as knows
from deeper.runs.judging import learned_of as learned_of
from deeper.runs.learning_curve import LearningCurve as LearningCurve
from deeper.runs.learning_curve import Point as Point
from deeper.runs.learning_curve import learn_curve as learn_curve
from deeper.runs.rates import FoundRate as FoundRate
from deeper.runs.rates import find_rate as find_rate
from deeper.runs.repeated import Summary as Summary
from deeper.runs.repeated import folds as folds
from deeper.runs.repeated import repeat as repeat
from deeper.runs.repeated import seed_names as seed_names
from deeper.runs.result import Result as Result
from deeper.runs.training import resume as resume
from deeper.runs.training import train as train
