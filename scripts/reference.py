"""Write the pages that are made from what they describe: python scripts/reference.py [--check]

With --check nothing is written: it fails where one is not what the sources say, or a key has no explanation.
"""

import sys
from pathlib import Path

from reference_pages.commands import commands_page
from reference_pages.configs import Unexplained, config_page
from reference_pages.rooms import rooms_drawing

DOCS = Path(__file__).resolve().parents[1] / "docs"

if sys.argv[1:] not in ([], ["--check"]):
    sys.exit(__doc__)
try:
    pages = {"reference/config.md": config_page(DOCS.parent / "configs"), "reference/command-line.md": commands_page()}
except Unexplained as error:
    sys.exit(f"{error}")
stale = []
for name, text in (pages | {"assets/rooms.svg": rooms_drawing()}).items():
    if not sys.argv[1:]:
        (DOCS / name).write_text(text)
    elif not (DOCS / name).is_file() or (DOCS / name).read_text() != text:
        stale.append(f"docs/{name} is not what its sources say: run python scripts/reference.py")
sys.exit("\n".join(stale) or None)
