"""With each strategy, a run that is asked to leave and taken up again ends like an undisturbed one, bit for bit."""

import re
from pathlib import Path

import pytest

from tlx.config.place import CONFIG_DIR
from tlx.contracts.interruption import Ask, resumes_as_if_undisturbed, same_end
from tlx.processes.interruption import Interrupted
from tlx.record.record import read_record
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import do

PRESETS = {file.stem: file.read_text() for file in sorted((CONFIG_DIR / "strategy").glob("*.yaml"))}


def is_solved(name: str) -> bool:
    """Whether a preset, or the one that it begins with, has a solver: that has no steps to be interrupted at."""
    begins = re.search(r"^defaults: \[(\w+)", PRESETS[name], re.MULTILINE)
    return "solver:" in PRESETS[name] or (begins is not None and begins[1] in PRESETS and is_solved(begins[1]))


STRATEGIES = [name for name in PRESETS if not is_solved(name)]
EPOCHS, BATCHES = 4, 5
# (epoch, batch): the first step, the middle of an epoch, its last batch (before validation), the one after, the last
POINTS = [(0, 0), (1, 2), (1, BATCHES - 1), (2, 0), (EPOCHS - 1, BATCHES - 1)]


def test_all_presets_are_found() -> None:
    assert len(STRATEGIES) >= 10 and len(PRESETS) > len(STRATEGIES)


@pytest.fixture
def plan(tlx):
    """A function that plans one run of a strategy in a study."""
    from tlx.config.composer import composer
    from tlx.sweeps.prepare import prepare

    def plan(strategy: str, study: str, *words: str) -> Planned:
        size = ["dataset.train_size=2_per_class", "trainer.batch_size=4", f"trainer.max_epochs={EPOCHS}"]
        with composer() as compose:
            return prepare(compose, [*tlx.quick, *size, f"strategy={strategy}", f"study={study}", *words], False)[0]

    return plan


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_interrupted_at_five_points(plan, strategy: str) -> None:
    cut = [(plan(strategy, f"cut_{epoch}_{batch}"), (epoch, batch)) for epoch, batch in POINTS]
    resumes_as_if_undisturbed(plan(strategy, "whole"), cut)


def test_interrupted_again_and_again_and_moved_meanwhile(plan) -> None:
    whole = plan("gradual_unfreezing", "whole")
    do(whole)
    run = plan("gradual_unfreezing", "cut")
    for place in [(0, 3), (1, 1), (1, 4), (3, 0)]:
        with pytest.raises(Interrupted):
            do(run, [Ask(place)])
        moved = Planned(run.config, run.folder.with_name(f"moved{place[0]}{place[1]}"))
        run.folder.rename(moved.folder)
        run = moved
    do(run)
    same_end(run, whole)


@pytest.mark.parametrize("harm", ["cut short", "altered", "gone"])
def test_a_harmed_checkpoint_is_passed_over_for_the_one_before(plan, harm: str) -> None:
    whole = plan("full", "whole")
    do(whole)
    run = plan("full", "cut", "trainer.checkpoint_seconds=0")  # one after every batch
    with pytest.raises(Interrupted):
        do(run, [Ask((2, 1))])
    harmed: Path = run.folder / "checkpoints/last.ckpt"
    content = bytearray(harmed.read_bytes())
    if harm == "cut short":
        harmed.write_bytes(content[: len(content) // 2])
    elif harm == "altered":
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(64 - len(b"x")) + b"x"
        harmed.write_bytes(content)
    else:
        harmed.unlink()
    do(run)
    record = read_record(run.folder)
    assert record and record["sittings"][-1]["resumed"]
    same_end(run, whole)


def test_without_a_checkpoint_the_run_begins_anew(plan) -> None:
    whole = plan("full", "whole")
    do(whole)
    run = plan("full", "cut")
    with pytest.raises(Interrupted):
        do(run, [Ask((1, 0))])
    for file in (run.folder / "checkpoints").iterdir():
        file.unlink()
    do(run)
    record = read_record(run.folder)
    assert record and not record["sittings"][-1]["resumed"]
    same_end(run, whole)


def test_a_run_on_the_tokens_that_occur_alone(plan, write_texts) -> None:
    words = ["model=tiny_text", "model.path=null", "dataset=local_text", f"dataset.path={write_texts()}"]
    words += ["dataset.train_size=6_per_class", "model.tokenizer.vocab_size=300", "dataset.validation_share=0.2"]
    whole = plan("scratch", "whole", *words)
    do(whole)
    record = read_record(whole.folder)
    assert record and 0 < record["counts"]["embedding_rows_trained"] < record["counts"]["embedding_rows"]
    run = plan("scratch", "cut", *words)
    with pytest.raises(Interrupted):
        do(run, [Ask((1, 1))])
    do(run)
    same_end(run, whole)
