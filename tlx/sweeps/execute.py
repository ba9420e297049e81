"""From a command line to finished runs: prepare them, freeze them, hand them to a launcher or a search."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlx.config.composer import composer
from tlx.errors import RunFailed
from tlx.sweeps.here import do_here, why_not_done
from tlx.sweeps.launchers import own_launcher
from tlx.sweeps.prepare import prepare
from tlx.sweeps.search_options import own_sweeper
from tlx.sweeps.study import Planned
from tlx.sweeps.sweep import Sweep, launch

if TYPE_CHECKING:
    from tlx.sweeps.found import Found


def run_one(overrides: Sequence[str], config_dir: str | None = None) -> Planned:
    """One run from its overrides, in this process; a finished run is not done again.

    Raises:
        UserError: bad input; nothing was started.
        RunFailed: it was started and failed; its record says why.
    """
    with composer(config_dir) as compose:
        if any(word.lstrip("+~").startswith("hydra.launcher") for word in overrides):
            own_launcher(compose.launcher(overrides))  # it has nothing to do here, but its words may be wrong
        (run,) = prepare(compose, overrides, multirun=False)
    do_here(run)
    if not run.finished:
        raise RunFailed(why_not_done(run))
    return run


def run_sweep(overrides: Sequence[str], config_dir: str | None) -> "Sweep | Found":
    """All runs of a command line, planned, checked and frozen before the first one starts; or a search for values.

    Raises:
        UserError: anything wrong with any run, or with all that a search could try; nothing was started.
    """
    with composer(config_dir) as compose:
        if searching := own_sweeper(compose.sweeper(overrides)):
            from tlx.sweeps.search import Search

            return Search(compose, overrides, searching).carry_out()
        options = own_launcher(compose.launcher(overrides))
        study = Sweep([])
        try:
            study.runs = prepare(compose, overrides, multirun=True, study=study, options=options)
        except BaseException:
            if study.backend is not None:
                study.backend.close()
            raise
        if options is not None:
            study.carry_out(options)
        else:
            launch(compose, overrides, study)
    return study
