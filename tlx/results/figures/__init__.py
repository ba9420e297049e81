"""The figures of a study, by the names that `tlx plot` knows. No plotting library is imported before one is drawn."""

from tlx.results.figures.controls import Controls
from tlx.results.figures.cost import Cost
from tlx.results.figures.drift import Drift
from tlx.results.figures.figure import Absent, Figure, NotAsked, Picture
from tlx.results.figures.forgetting import Forgetting
from tlx.results.figures.learning_curves import LearningCurves
from tlx.results.figures.profiles import Profiles
from tlx.results.figures.sample_efficiency import SampleEfficiency
from tlx.results.figures.seeds import Seeds
from tlx.results.figures.unfreezing import Unfreezing

# In the order of the report.
FIGURES: tuple[type[Figure], ...] = (
    Seeds,
    LearningCurves,
    SampleEfficiency,
    Profiles,
    Controls,
    Forgetting,
    Drift,
    Unfreezing,
    Cost,
)
KINDS: dict[str, Figure] = {figure.kind: figure() for figure in FIGURES}

__all__ = ["FIGURES", "KINDS", "Absent", "Figure", "NotAsked", "Picture"]
