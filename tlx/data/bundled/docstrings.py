"""English prose from the docstrings of installed packages: which package does a sentence come from?

Files are parsed, never imported. What counts as prose: sentences of 6 to 40 plain English words; no examples,
parameter tables, code, directives or references. Package names are replaced by one neutral word, so the label must be
read from the subject and the style. A sentence that occurs twice, in one package or in two, is used at most once, and
every file gives its sentences to one split only, so that a test sentence has no sister in the training part.

The texts are those of the packages' authors under the packages' own licences (BSD, Matplotlib); they
are read where they are installed and not shipped with tlx. The data therefore change with the locked versions.
"""

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from tlx.data.bundled import package_folder, write_split
from tlx.errors import UserError

PACKAGES = (
    "matplotlib",
    "networkx",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "sympy",
    "torch",
)
"""The labels: dependencies of tlx (networkx and sympy come with torch) that are rich in prose."""
PER_CLASS = {"test": 80, "validation": 60, "train": 600}
"""Sentences of each package, in the order in which the splits take their files."""
PER_FILE = 15
"""At most this many sentences of one file, so that no module dominates its package."""
ENOUGH = 900
"""Reading a package stops here, some way above what the splits need, since repeated sentences are taken out later."""
MAX_FILES = 600
"""At most this many files are parsed for one package."""
MAX_BYTES = 200_000
"""Larger files are skipped: they cost most of the time and give no more than PER_FILE sentences either."""

NEUTRAL = "library"
NAMES = re.compile(
    r"\b(?:scikit-learn|scikits?|py ?torch|py ?data|numpy|scipy|sklearn|pandas|torch\w*"
    r"|matplotlib\w*|pyplot|pylab|mpl|networkx|sympy)(?:['’]s)?\b",
    re.IGNORECASE,
)
UNDERLINE = re.compile(r"^\s*([-=~^*+#\"'`.])\1{2,}\s*$")
NOT_PROSE = re.compile(r"^\s*(?:>>>|\.\. |[-*+•] |\d+[.)] |:|\||@|\$|\[\d|#|Args?:|Returns?:|Examples?:|In \[)")
SENTENCE_END = re.compile(r"(?<=[a-z)][.!?])\s+(?=[A-Z])")
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|cf|vs|al|Fig|Eq|Sec|Ref|resp|approx|Dr|Prof|Inc|Vol|No|pp)\.)$")
SENTENCE = re.compile(r"^[A-Z][A-Za-z0-9 ,;:'’()\-.]*[.!?]$")
CODE_WORD = re.compile(r"[a-z][A-Z]|[A-Za-z0-9]\.[A-Za-z0-9]|\w\(|\(\)|::|\.\.|--|\s-\w")
BOILERPLATE = re.compile(r"copyright|licen[cs]e|all rights|docstring|versionadded|deprecat|\bsee also\b", re.IGNORECASE)
FUNCTION_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "be", "by", "can", "for", "if", "in", "is", "it", "not", "of", "on", "or", "that"}
    | {"the", "this", "to", "which", "with"}
)


def docstrings(source: bytes) -> Iterator[str]:
    """The docstrings of a module, its classes, its functions and their methods, from top to bottom."""
    waiting: list[ast.stmt | ast.Module] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield inspect.cleandoc(text)
        if isinstance(node, ast.Module | ast.ClassDef):
            waiting += reversed(node.body)


def paragraphs(docstring: str) -> Iterator[str]:
    """The prose paragraphs of a docstring, each on one line.

    A block of lines counts as prose when it is evenly indented and none of its lines is a heading, a list item, an
    example, a directive or a field.
    """
    for block in re.split(r"\n\s*\n", docstring):
        lines = block.splitlines()
        if any(UNDERLINE.match(line) or NOT_PROSE.match(line) for line in lines):
            continue
        if len({len(line) - len(line.lstrip()) for line in lines}) > 1:
            continue
        yield " ".join(line.strip() for line in lines)


def sentences(paragraph: str) -> Iterator[str]:
    """The sentences of a paragraph that are plain English, with package names replaced by NEUTRAL."""
    for raw in SENTENCE_END.split(paragraph):
        sentence = NAMES.sub(NEUTRAL, raw.strip())
        sentence = sentence[:1].upper() + sentence[1:]
        if is_prose(sentence):
            yield sentence


def is_prose(sentence: str) -> bool:
    """Whether this is one whole sentence of 6 to 40 words without code, markup, addresses or legal boilerplate."""
    words = sentence.split()
    if not 6 <= len(words) <= 40 or not SENTENCE.match(sentence):
        return False
    if CODE_WORD.search(sentence) or BOILERPLATE.search(sentence) or ABBREVIATION.search(sentence):
        return False
    if sentence.count("(") != sentence.count(")") or ": " in sentence:
        return False
    plain = sum(word.strip(",;:.!?()'’").replace("-", "").replace("'", "").isalpha() for word in words)
    known = sum(word.lower() in FUNCTION_WORDS for word in words)
    return plain >= 0.9 * len(words) and known >= 0.15 * len(words)


def key(sentence: str) -> str:
    """Its letters only, in lower case: sentences that differ in numbers or punctuation count as the same."""
    return re.sub(r"[^a-z]+", " ", sentence.lower()).strip()


def files_of(package: str, rng: np.random.Generator) -> list[Path]:
    """At most MAX_FILES Python files of a package, in a random order that depends on their names alone."""
    root = package_folder(package)
    skipped = {"tests", "testing", "_vendor", "vendor", "externals"}
    found = [path.relative_to(root) for path in root.rglob("*.py")]
    kept = sorted((path for path in found if not skipped & set(path.parts)), key=lambda path: path.as_posix())
    order = rng.permutation(len(kept))[:MAX_FILES]
    return [root / kept[i] for i in order]


def prose_by_file(package: str, rng: np.random.Generator) -> list[list[str]]:
    """The sentences of each file that has any, file after file, until there are ENOUGH."""
    result: list[list[str]] = []
    usable = 0
    for path in files_of(package, rng):
        source = path.read_bytes()
        if len(source) > MAX_BYTES:
            continue
        found = [s for text in docstrings(source) for paragraph in paragraphs(text) for s in sentences(paragraph)]
        if found:
            result.append(found)
            usable += min(len(found), PER_FILE)
        if usable >= ENOUGH:
            break
    return result


def without_repeats(files: list[list[str]], excluded: set[str]) -> list[list[str]]:
    """The first occurrence of each sentence, file after file, leaving out those whose key is `excluded`."""
    seen = set(excluded)
    result = []
    for file in files:
        fresh = []
        for sentence in file:
            if key(sentence) not in seen:
                seen.add(key(sentence))
                fresh.append(sentence)
        result.append(fresh)
    return result


def divide(package: str, files: list[list[str]], rng: np.random.Generator) -> dict[str, list[tuple[str, str]]]:
    """Fill the splits one after the other, PER_CLASS (sentence, document) pairs each; no file serves two of them.

    Raises:
        UserError: the package's files hold too few sentences.
    """
    parts: dict[str, list[tuple[str, str]]] = {split: [] for split in PER_CLASS}
    left = enumerate(files)
    for split, count in PER_CLASS.items():
        while len(parts[split]) < count:
            number, file = next(left, (None, []))
            if number is None:
                raise UserError(
                    f"the docstrings of '{package}' as installed give {sum(map(len, parts.values()))} clean sentences; "
                    f"{sum(PER_CLASS.values())} are needed. Install the versions of requirements.lock (`make setup`)."
                )
            chosen = rng.permutation(len(file))[:PER_FILE]
            parts[split] += [(file[i], f"{package} {number}") for i in sorted(chosen)]
        parts[split] = parts[split][:count]
    return parts


def make(folder: Path) -> None:
    """Write train, validation and test, PER_CLASS sentences of each package.

    `text` is one sentence, `label` the package, `document` the number of the file that it stands in.
    """
    rng = np.random.default_rng(2024)
    prose = {package: prose_by_file(package, rng) for package in PACKAGES}
    packages_with = Counter(
        sentence_key
        for files in prose.values()
        for sentence_key in {key(sentence) for file in files for sentence in file}
    )
    rows: dict[str, list[tuple[str, str, str]]] = {split: [] for split in PER_CLASS}
    for package, files in prose.items():
        unique = without_repeats(files, {sentence_key for sentence_key, count in packages_with.items() if count > 1})
        for split, pairs in divide(package, unique, rng).items():
            rows[split] += [(text, package, document) for text, document in pairs]
    for split, lines in rows.items():
        write_split(folder, split, pd.DataFrame(lines, columns=["text", "label", "document"]))
