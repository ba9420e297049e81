"""Contracts tried one by one: a line for each, and how many held."""

import contextlib
import io
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

from tlx.contracts.contract import Broken, Left
from tlx.errors import RunFailed, UserError, one_line

OK, FAILED, SKIPPED = "ok", "failed", "skipped"


class Tally:
    """Tries contracts and says of each what came of it, by the function `say`."""

    def __init__(self, say: Callable[[str], None], show_traceback: bool = False) -> None:
        self.say, self.show_traceback = say, show_traceback
        self.counts: Counter[str] = Counter()
        self.subject = ""

    def tries(self, contract: str, check: Callable[..., Any], *args: Any) -> tuple[bool, Any]:
        """Whether `check(*args)` went through, and what it returned; where that is a text, it is said, too.

        What a library prints meanwhile is nobody's business.
        """
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                found = check(*args)
        except Left as reason:
            self.note(SKIPPED, contract, str(reason))
        except (Broken, UserError) as error:
            self.note(FAILED, contract, one_line(error))
        except RunFailed as error:
            self.note(FAILED, contract, f"a run failed: {one_line(error)}")
        except Exception as error:
            if self.show_traceback:
                traceback.print_exc()
            why = f"{type(error).__name__}: {one_line(error)} (in the code that the yaml names, or a fault of tlx)"
            self.note(FAILED, contract, why)
        else:
            self.note(OK, contract, found if isinstance(found, str) else "")
            return True, found
        return False, None

    def note(self, status: str, contract: str, words: str = "") -> None:
        """Say what came of a contract of the yaml that is being checked."""
        self.counts[status] += 1
        self.say(f"{status:<7}  {self.subject}: {contract}" + (f": {words}" if words else ""))

    @property
    def summary(self) -> str:
        """How many contracts held, failed and were skipped."""
        return ", ".join(f"{self.counts[status]} {status}" for status in (OK, FAILED, SKIPPED))
