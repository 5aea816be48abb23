"""The built-in corpus: English sentences from the docstrings, comments and help topics of Python's standard library.

Why: a first run needs real prose, and every machine that runs this project has some, without network and without a
licence to ask for. It is a demonstration, not a benchmark: small, about programming, and a little different in every
version of Python. The files are parsed, never imported. To look at it:

    python -c "from trainable.text.builtin_text import builtin_sentences as s; print(len(s()), *s()[:5], sep='\\n')"
"""

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

# Tests and bundled tools: hardly any prose, and absent from many installations.
SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "turtledemo", "ensurepip"}
)
WORDS_OF_A_SENTENCE = range(4, 61)

_COMMENTS = re.compile(r"(?:^[ \t]*#.*\n)+", re.MULTILINE)
_HASH = re.compile(r"^[ \t]*#+ ?", re.MULTILINE)
_ROLE = re.compile(r":(?:[\w-]+:)*[\w-]+:`([^`]*)`")  # :func:`len`, :py:class:`int`
_LINK = re.compile(r"`([^`<]+?)\s*<[^>`]*>`_{0,2}")  # `text <https://...>`_
_LITERAL = re.compile(r"``?([^`]*)``?_{0,2}")
_EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}(\w[^*\n]*)\*{1,2}(?![\w*])")
_TABLE_OR_RULE = re.compile(r"[-=~+^#*|]{3,}|^\s*\|", re.MULTILINE)
_MARKUP_LINE = re.compile(r"^\s*(?:\.\.|>>>|\.\.\. |\$ |:\w+|@\w+)", re.MULTILINE)
_PARAGRAPH_END = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+[.)])\s)")  # an item of a list is a paragraph
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z\"'(])")
_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*[,;:.!?]?|[A-Za-z]|\d+")
_OPENERS, _CLOSERS = "\"'(", "\"').,;:!?"
_CODE = re.compile(r"[=<>{}\[\]\\|@#$^&*~`]|--|::|\w\(\w")


def builtin_sentences() -> list[str]:
    """All sentences, each once, in an order that depends on nothing but the installed library (about 4 s)."""
    library = Path(sysconfig.get_path("stdlib"))
    texts = (text for path in _source_files(library) for text in _texts(path))
    return list(dict.fromkeys(sentence for text in texts for sentence in sentences(text)))


def sentences(text: str) -> Iterator[str]:
    """The sentences of the plain paragraphs of a docstring: no code, doctest, list, table, heading or signature."""
    for paragraph in _paragraphs(cleandoc(text)):
        for candidate in _SENTENCE_END.split(_plain(paragraph)):
            if _is_prose(candidate):
                yield candidate


def _source_files(library: Path) -> list[Path]:
    paths = (path.relative_to(library) for path in library.rglob("*.py"))
    return [library / path for path in sorted(paths) if SKIPPED_FOLDERS.isdisjoint(path.parts)]


def _texts(path: Path) -> Iterator[str]:
    """The docstrings of a file, then its blocks of comments; of `pydoc_data/topics.py` the topics."""
    source = path.read_bytes()
    tree = _parsed(source)
    if path.parent.name == "pydoc_data":
        yield from _topics(tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node, clean=False) or ""
    for block in _COMMENTS.findall(source.decode("utf-8", "replace")):
        yield _HASH.sub("", block)


def _parsed(source: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in a library file are not our user's concern
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError):
            return ast.Module(body=[], type_ignores=[])  # a file for another version of Python


def _topics(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            yield from (v.value for v in node.values if isinstance(v, ast.Constant) and isinstance(v.value, str))


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of prose. What is indented below a line that ends in "::" or ":" is an example."""
    example_indent: int | None = None
    for paragraph in _PARAGRAPH_END.split(text):
        indent = min((len(line) - len(line.lstrip()) for line in paragraph.splitlines() if line.strip()), default=0)
        if example_indent is not None and indent > example_indent:
            continue
        example_indent = indent if paragraph.rstrip().endswith("::") else None
        if not _TABLE_OR_RULE.search(paragraph) and not _MARKUP_LINE.search(paragraph):
            yield paragraph


def _plain(paragraph: str) -> str:
    """One line without bullet or reStructuredText markup, white space normalised."""
    paragraph = _ITEM.sub("", paragraph)
    for pattern in (_ROLE, _LINK, _LITERAL, _EMPHASIS):
        paragraph = pattern.sub(lambda match: match[1].lstrip("~!"), paragraph)
    return " ".join(paragraph.split())


def _is_prose(sentence: str) -> bool:
    """A capital, four to sixty words that are nearly all words, a full stop, and nothing that looks like code."""
    words = sentence.split()
    if len(words) not in WORDS_OF_A_SENTENCE or not sentence[0].isupper() or sentence[-1] not in ".!?":
        return False
    plain = sum(_WORD.fullmatch(word.lstrip(_OPENERS).rstrip(_CLOSERS)) is not None for word in words)
    return plain >= 0.85 * len(words) and not _CODE.search(sentence)
