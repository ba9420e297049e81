"""Which of the splits that a data set has is read for which role."""

from collections.abc import Mapping, Sequence

from tlx.errors import UserError, nearest, unknown

ROLES = ("train", "validation", "test")
ALSO_CALLED = {"train": ("training",), "validation": ("val", "valid", "dev", "eval"), "test": ("testing", "eval")}


def choose_splits(found: Sequence[str], splits: Mapping[str, str | None], where: str) -> dict[str, str]:
    """Which of the names `found` is read for which role; {"all": name} for a single one that is no split.

    Raises:
        UserError: a role that does not exist, or a split that is named and missing.
    """
    for role in splits:
        if role not in ROLES:
            raise unknown("split role in dataset.splits", role, ROLES)
    wanted = {role: name for role, name in splits.items() if name is not None}
    if len(found) == 1 and found[0] not in wanted.values():
        return {"all": found[0]}
    for role, name in wanted.items():
        if name not in found:
            match = next((other for other in ALSO_CALLED[role] if other in found), None) or nearest(name, found)
            raise UserError(
                f"{where} has no split '{name}'. It has {', '.join(sorted(found))}."
                + (f" Did you mean dataset.splits.{role}={match}?" if match else "")
                + f" If there is none, say dataset.splits.{role}=null; a split is then carved out of the training data."
            )
    if not wanted:
        raise UserError(f"{where} has {', '.join(sorted(found))}: say in dataset.splits which of them to read.")
    return wanted
