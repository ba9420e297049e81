"""Keep a study's records: python scripts/publish_study.py runs/questions experiments/questions/records"""

import sys
from pathlib import Path

from tlx.errors import UserError
from tlx.results.publish import publish

if len(sys.argv) != 3:
    sys.exit(__doc__)
try:
    print(f"{publish(Path(sys.argv[1]), Path(sys.argv[2]))} runs in {sys.argv[2]}")
except UserError as error:
    sys.exit(f"{error}")
