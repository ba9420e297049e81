"""Write the pages of the reference from what they describe: python scripts/reference.py [--check]

With --check nothing is written: it fails where a page is not what the sources say, or a key has no explanation.
"""

import sys
from pathlib import Path

from reference_pages.commands import commands_page
from reference_pages.configs import Unexplained, config_page

ROOT = Path(__file__).resolve().parents[1]

if sys.argv[1:] not in ([], ["--check"]):
    sys.exit(__doc__)
try:
    pages = {"config.md": config_page(ROOT / "configs"), "command-line.md": commands_page()}
except Unexplained as error:
    sys.exit(f"{error}")
stale = []
for name, text in pages.items():
    page = ROOT / "docs" / "reference" / name
    if not sys.argv[1:]:
        page.write_text(text)
    elif not page.is_file() or page.read_text() != text:
        stale.append(f"docs/reference/{name} is not what its sources say: run python scripts/reference.py")
sys.exit("\n".join(stale) or None)
