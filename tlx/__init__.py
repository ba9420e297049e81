"""tlx: transfer-learning studies, from a grid of choices to the table of the paper.

Importing this package is cheap: torch and Lightning are imported when something runs.
"""

from tlx.record.versions import VERSION as __version__


def run(overrides: list[str], config_dir: str | None = None) -> dict:
    """Do what `tlx train OVERRIDES` does and return the record (a dict, as in record.json).

    Raises:
        tlx.errors.UserError: bad input; nothing was started.
        tlx.errors.RunFailed: the run started and failed; its record says why.
    """
    from tlx.record.record import read_record
    from tlx.sweeps.execute import run_one

    record = read_record(run_one(overrides, config_dir).folder)
    assert record is not None
    return record


__all__ = ["__version__", "run"]
