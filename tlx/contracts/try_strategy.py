"""The contracts of one strategy's yaml, tried with the bundled models on small data."""

from pathlib import Path
from typing import Any

from tlx.assembly import assemble
from tlx.config.composer import Composer
from tlx.contracts import strategies, workshop
from tlx.contracts.contract import Left
from tlx.contracts.folder import Yaml
from tlx.contracts.interruption import resumes_as_if_undisturbed
from tlx.contracts.tally import Tally
from tlx.errors import UserError
from tlx.registry.entries import PREFIX
from tlx.sweeps.prepare import prepare

LEAVES_AT = (1, 1)  # epoch, batch


def try_strategy(compose: Composer, yaml: Yaml, work: Path, tally: Tally) -> None:
    """On each model: plan, start, train, and go on after an interruption."""
    root = work.parent
    for model in sorted(path.parent.name for path in (root / "registry").glob("*/card.json")):
        given = [f"strategy={yaml.name}"]
        fine, config = tally.tries(f"composes ({model})", workshop.composed, compose, root, model, *given)
        if not fine:
            return
        if config["strategy"]["init"].startswith(PREFIX):  # of the user's registry: here pretrained ones stand for them
            given.append("strategy.init=pretrained")
        fine, given = tally.tries(f"can be timed ({model})", long_enough, compose, root, model, given)
        if not fine:
            continue
        config = workshop.composed(compose, root, model, *given)
        tally.tries(f"phases end with the training ({model})", strategies.phases_end_with_the_training, config)
        weights, place = root / "registry" / model, work / model
        tally.tries(f"starts from its weights ({model})", strategies.starts_and_counts, config, place / "s", weights)
        tally.tries(f"trains what it says ({model})", strategies.trains_what_it_says_and_repeats, config, place)
        tally.tries(f"resumes ({model})", resumes, compose, root, model, config, given, place)


def long_enough(compose: Composer, root: Path, model: str, given: list[str]) -> list[str]:
    """The overrides of a training that the strategy's phases fit into: a short one, or one of the usual epochs.

    Raises:
        Left: its phases are counted in steps, and want more data than there are here.
        UserError: its phases fit into neither.
    """
    usual = compose.unresolved(given)["trainer"]["max_epochs"]
    for epochs in sorted({workshop.EPOCHS, usual}):
        words = [*given, f"trainer.max_epochs={epochs}"]
        plan = assemble(workshop.composed(compose, root, model, *words))[1].plan
        try:
            plan.boundaries(epochs * workshop.PER_EPOCH, workshop.PER_EPOCH)
        except UserError as error:
            why = error
            in_steps = any(phase.steps for phase in plan.phases)
        else:
            return words
    if in_steps:
        raise Left(f"its phases are counted in steps, and the data to try them on are too few for that: {why}")
    raise UserError(f"in {epochs} epochs, {why}")


def resumes(compose: Composer, root: Path, model: str, config: dict[str, Any], given: list[str], place: Path) -> None:
    """A run that is asked to leave and taken up again ends like one that is not.

    Raises:
        Left: a solver finds the head at once.
    """
    if config["strategy"].get("solver"):
        raise Left("its head is solved: there are no steps to be interrupted at")

    def planned(study: str) -> Any:
        words = workshop.words(root, model, *given, f"paths.runs={place / 'runs'}", f"study={study}")
        return prepare(compose, words, False)[0]

    resumes_as_if_undisturbed(planned("whole"), [(planned("cut"), LEAVES_AT)])
