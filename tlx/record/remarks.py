"""What a record's `data` says of the examples, in sentences: for the run's own output, its record and its table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 5  # names in one sentence
MANY_CUT = 0.1  # of a part's examples: fewer are only counted in the record


@dataclass(frozen=True)
class Remark:
    """A sentence of a kind ("overlap/test"); of two of one kind, the one with the larger `weight` says more."""

    kind: str
    weight: int
    sentence: str


def remarks(about: Mapping[str, Any], size: Any = None) -> list[Remark]:
    """Remarks on the examples of one run.

    about: see `tlx.data.parts.describe`. size: `dataset.train_size`, which drew the training examples.
    """
    said = [
        Remark(
            f"unlabelled/{role}",
            count,
            f"{count} {_split(role)} examples have no label (missing, or -1 among integers) and were left out. "
            "If -1 is a class, dataset.label_names must name it.",
        )
        for role, count in about.get("unlabelled", {}).items()
    ]
    for name, entry in about.get("untrained", {}).items():
        parts = {role: count for role, count in entry.items() if role != "nearest"}
        where = " and ".join(f"{count} examples of {role}" for role, count in parts.items())
        near = f"; the nearest that is trained is '{entry['nearest']}'" if entry.get("nearest") else ""
        sentence = f"the label '{name}' ({where}) is never trained, so these count as wrong{near}."
        said.append(Remark(f"untrained/{name}", sum(parts.values()), sentence))
    if classes := about.get("unused"):
        said.append(Remark("unused", len(classes), f"no example has the label {_list(classes)}."))
    if classes := about.get("undrawn"):
        drawn = f"dataset.train_size={size} draws" if size is not None else "training has"
        said.append(Remark("undrawn", len(classes), f"{drawn} no example of {_list(classes)}, which it cannot learn."))
    for role, classes in about.get("absent", {}).items():
        sentence = f"{role} has no example of {_list(classes)}: its scores say nothing of {_these(classes)}."
        said.append(Remark(f"absent/{role}", len(classes), sentence))
    overlap = dict(about.get("overlap", {}))
    if dropped := overlap.pop("dropped", 0):
        sentence = f"{dropped} training examples were left out because validation or test hold them, too."
        said.append(Remark("dropped", dropped, sentence))
    for name, entry in overlap.items():
        role, _, among = name.partition("_")
        other = f", {entry['other_label']} of them with another label" if entry["other_label"] else ""
        sentence = (
            f"{entry['examples']} of {entry['of']} {role} examples are in {among or 'training'}, too{other}"
            f"{': what chooses the checkpoint also scores it' if among else ''} (dataset.overlap)."
        )
        said.append(Remark(f"overlap/{name}", entry["examples"], sentence))
    groups = about.get("groups", {})
    for role, count in groups.get("shared", {}).items():
        sentence = (
            f"{count} of {groups[role]} groups ({groups['column']}) of {role} are in training, too: its scores are "
            "not of new ones."
        )
        said.append(Remark(f"groups/{role}", count, sentence))
    for role, entry in about.get("skipped", {}).items():
        endings = ", ".join(f"{ending}: {count}" for ending, count in list(entry["endings"].items())[:SHOWN])
        sentence = (
            f"{entry['files']} files {'' if role == 'all' else f'of {role} '}were passed over, such as "
            f"{entry['first']}: their endings are not of this modality ({endings})."
        )
        said.append(Remark(f"skipped/{role}", entry["files"], sentence))
    cut = about.get("cut", {})
    for role, entry in cut.items():
        if role != "limit" and entry["examples"] > MANY_CUT * entry["of"]:
            sentence = (
                f"{entry['examples']} of {entry['of']} {role} examples are longer than {cut['limit']}: what comes "
                "after that was cut off."
            )
            said.append(Remark(f"cut/{role}", entry["examples"], sentence))
    return said


def largest(of_runs: Sequence[Sequence[Remark]]) -> list[str]:
    """One sentence of each kind, that of the run where most is so; where runs differ in it, it says so."""
    kinds: dict[str, list[Remark]] = {}
    for said in of_runs:
        for remark in said:
            kinds.setdefault(remark.kind, []).append(remark)
    told = []
    for found in kinds.values():
        top = max(found, key=lambda remark: remark.weight)
        alike = len(found) == len(of_runs) and len({remark.sentence for remark in found}) == 1
        told.append(top.sentence if alike else f"in {len(found)} of {len(of_runs)} runs, at most: {top.sentence}")
    return told


def _split(role: str) -> str:
    return "of the" if role == "all" else role


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more classes" if len(names) > SHOWN else "")


def _these(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
