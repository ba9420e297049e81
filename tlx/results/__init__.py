"""What users publish: records, collected into runs, averaged into tables. Imports neither torch nor pandas.

import tlx.results as r
runs = r.collect("runs/letters_to_digits")
print(r.render(r.build_table(runs), "md"))
print(r.compare(runs, "ulmfit", "full"))
r.frame(runs).groupby("strategy")["test/accuracy"].describe()
"""

from tlx.record.record import read_record, write_record
from tlx.results.collect import Run, collect, frame
from tlx.results.comparison import Comparison, compare
from tlx.results.formats import FORMATS, render
from tlx.results.load import load_model
from tlx.results.runs import list_runs, print_runs, summary
from tlx.results.sample_efficiency import efficiency_frame, sample_efficiency
from tlx.results.table import Table, build_table

__all__ = [
    "FORMATS",
    "Comparison",
    "Run",
    "Table",
    "build_table",
    "collect",
    "compare",
    "efficiency_frame",
    "frame",
    "list_runs",
    "load_model",
    "print_runs",
    "read_record",
    "render",
    "sample_efficiency",
    "summary",
    "write_record",
]
