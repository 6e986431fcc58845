"""What a model got right and wrong on a split, with intervals; several models on the same pictures. Knows no torch."""

from deeper.evaluation.calibration import BINS as BINS
from deeper.evaluation.calibration import Bin as Bin
from deeper.evaluation.comparison import Comparison as Comparison
from deeper.evaluation.comparison import Pair as Pair
from deeper.evaluation.comparison import align as align
from deeper.evaluation.comparison import compare as compare
from deeper.evaluation.confusions import confusions as confusions
from deeper.evaluation.evaluation import ClassResult as ClassResult
from deeper.evaluation.evaluation import Evaluation as Evaluation
from deeper.evaluation.evaluation import Mistake as Mistake
from deeper.evaluation.evaluation import evaluate as evaluate
