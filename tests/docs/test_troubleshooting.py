"""docs/troubleshooting.md quotes messages that tlx really has, and keys that there are."""

import ast
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from pages import DOCS, sources

PAGE = (DOCS / "troubleshooting.md").read_text()
HEADINGS = [line.removeprefix("### ").strip() for line in PAGE.splitlines() if line.startswith("### ")]
GAP = "\0"


def texts() -> list[str]:
    """Every text in the source of tlx, what is put into it as GAP; texts that a plus joins are one."""

    def text(node: ast.AST) -> str | None:
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.JoinedStr):
            return "".join(text(part) or GAP for part in node.values)
        if isinstance(node, ast.BinOp):
            return f"{text(node.left) or GAP}{text(node.right) or GAP}"
        return None

    found = [text(node) for source in sources().values() for node in ast.walk(ast.parse(source))]
    return [one.replace("{}", GAP).replace("%s", GAP) for one in found if one]


def said(heading: str) -> str:
    return heading.strip("`").strip()


def test_messages_are_those_of_the_source() -> None:
    known = texts()
    assert len(HEADINGS) >= 60
    for heading in HEADINGS:
        words = [part.strip() for part in said(heading).split("…")]
        fixed = ".*".join(re.escape(part) for part in words if part)
        assert max(len(part) for part in words) >= 10 or "unknown" in words, heading
        if words[0] == "unknown" and "Did you mean" in words:  # put together from several texts
            assert any(one.startswith("unknown ") for one in known) and any("Did you mean" in one for one in known)
        else:
            assert any(re.search(fixed, one, re.DOTALL) for one in known), f"no message of tlx is: {heading}"


def test_every_message_has_a_cause_and_what_helps() -> None:
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        assert section.count("**Cause.**") == 1 and section.count("**What helps.**") == 1, section.splitlines()[0]


def test_anchors_are_unique() -> None:
    every = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = [re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in every]
    assert len(set(anchors)) == len(anchors)


def test_keys_that_help_are_keys() -> None:
    config = (DOCS / "reference/config.md").read_text()
    keys = set(re.findall(r"`([\w.]+)`", config))
    groups = {key.partition(".")[0] for key in keys if "." in key}
    given = set(re.findall(r"(?<![\w./])([a-z_]+(?:\.[A-Za-z_]+)+)(?==)", PAGE))
    assert len(given) > 20
    for key in given:
        if key.partition(".")[0] in groups:
            parents = {key.rsplit(".", depth)[0] for depth in range(key.count(".") + 1)}
            assert parents & keys, f"{key} is no key of the configuration"


# Commands that get the message whose heading has these words.
WRONG = {
    "Did you mean": "train strategy=fulll",
    "with a plus": "train 'dataset.columns={foo: bar}'",
    "must be given": "train model=text_encoder",
    "is not allowed: give": "train optimizer.lr=-1",
    "the key is missing": "train =5",
    "where one is needed": "plan strategy=full,lora",
    "these overrides name": "train strategy=full,lora",
    "names no run": "train -m 'seed=range(3,3)'",
    "one experiment at a time": "train -m experiment=questions,objects",
    "no such folder of configs": "train --config-dir nowhere",
    "choose a model and a data set": "train dataset=trec dataset.path=nowhere",
    "skip_if leaves no run": "train -m 'skip_if=[{strategy: full}]'",
    "needs a place": "train dataset=local_image",
    "must be one of": "train dataset.metrics=[accuracy] dataset.monitor=macro_f1",
    "cannot hold two classes": "train dataset.train_size=1",
    "is not a size": "train dataset.train_size=many",
    "mixes shares": "train -m dataset.train_size=1,0.5",
    "more labels than": "train dataset.train_size=1000_per_class",
    "has no weights of its own": "train model=squeezenet",
    "model.path=…": "train model.path=nowhere",
    "needs a GPU": "train trainer.precision=16-mixed",
    "do not fit into": "train strategy=gradual_unfreezing",
    "cannot learn": "train strategy=lora strategy.init=scratch",
    "trains nothing": "train strategy=partial strategy.freezing.ratio=null "
    "'strategy.freezing.frozen=[stem,block1,block2,block3,block4,head]'",
    "to select": "train strategy=logistic_probe selection=last",
    "no runs in": "table .",
}


def test_commands_that_go_wrong_get_these_messages(tlx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, command in WRONG.items():
        verb, *rest = shlex.split(command)
        check(tlx(verb, *([] if verb == "table" else tlx.quick), *rest).complaint, words)


def check(complaint: str, words: str) -> None:
    """The complaint is the message whose heading has these words."""
    (heading,) = [heading for heading in HEADINGS if words in heading]
    fixed = ".*".join(re.escape(part.strip()) for part in said(heading).split("…"))
    assert re.search(fixed, complaint), f"{words}: {complaint}"


def test_data_that_are_wrong_get_these_messages(tlx, write_texts: Callable[..., Path], tmp_path: Path) -> None:
    good = write_texts("good")

    def complaint(folder: Path, *words: str) -> str:
        # The data are read before the bundled text model, which is not there, would be pretrained.
        return tlx.train("model=tiny_text", "dataset=local_text", f"dataset.path={folder}", *words).complaint

    def rows(*labels: str) -> list[tuple[str, str]]:
        return [(f"text {i} of {labels}", label) for i, label in enumerate(labels * 10)]

    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.md").write_text("nothing\n")
    check(complaint(empty), "nothing readable in")
    check(complaint(good, "dataset.splits.test=exam"), "has no split")
    check(complaint(good, "dataset.columns={input: body, label: label}"), "has no column")
    check(complaint(good, "dataset.splits.validation=test"), "both read")
    check(complaint(good, "dataset.where=\"label == 'neutral'\""), "keeps no row of it")
    check(complaint(good, "dataset.where=\"label is 'pos'\""), "is compared in a way")
    check(
        complaint(write_texts("numbers", **dict.fromkeys(("train", "validation", "test"), rows("0.5", "1.5")))),
        "look like measurements",
    )
    check(complaint(write_texts("spelt", train=rows("pos", "Pos", "neg"))), "by their spelling")
    check(complaint(write_texts("untrained", test=rows("pos", "bad"))), "never trained")
    once = [*rows("pos", "neg"), ("a good film, number 0 of train", "pos")]
    check(complaint(write_texts("overlap", test=once), "dataset.overlap=error"), "the first of them")
    same = [(f"a good film, number {i} of train", "pos") for i in range(3)]
    same += [(f"a bad film, number {i} of train", "neg") for i in range(3)]
    check(complaint(write_texts("within", test=same)), "says nothing of new ones")
    latin = write_texts("latin")
    (latin / "test.csv").write_bytes("text,label\ncaf\xe9,pos\n".encode("latin-1"))
    check(complaint(latin), "says what it is in")
