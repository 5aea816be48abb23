"""Turn rows of text into token ids with an eos after each row, and find the rows that the tokenizer cannot read.

A row of many megabytes is given to the tokenizer in overlapping windows, which bounds the memory. The tokens of two
windows are joined in the middle of their overlap, where both have the same tokens at the same places. So the row gets
the tokens that it would get as a whole, even from a tokenizer that puts a mark before each text.

Shapes: R rows, n tokens.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainable.errors import InputError, require
from trainable.text.tokenizer.tokenizer import TextTokenizer
from trainable.text.tokenizer.unread import mostly_dropped, mostly_unknown, occurrences
from trainable.text.workers import own_cores

Portion = TypeVar("Portion")
Made = TypeVar("Made")

LIBRARY_THREADS: Final = "TOKENIZERS_PARALLELISM"  # the library looks at each call whether it may use its threads
WHOLE_ROW_BYTES = 1 << 22  # longer rows are given in windows
PIECE_CHARACTERS = 1 << 16  # of a window: a word of millions of letters would take hours
OVERLAPS = 1 / 16, 1 / 4, 3 / 4  # of two windows, as shares of one; each is tried if the one before has no joint
AGREEING = 4  # tokens before and after a joint that both windows must have


class Encoded(NamedTuple):
    """The tokens of some rows, end to end, an eos after each; a row without a token has no eos either."""

    ids_n: NDArray[np.uint32]
    length_R: NDArray[np.uint32]
    unread_R: NDArray[np.bool_]  # rows that give no token, or are mostly unknown (text/tokenizer/unread.py)
    eos_R: NDArray[np.bool_]  # rows whose own text gives an eos


def each_in_a_thread(tokenise: Callable[[Portion], Made], portions: Iterable[Portion]) -> list[Made]:
    """Tokenise each portion of text in a thread of its own, as many at once as this process has cores.

    Inside `without_library_threads` this tokenises 1.3 times as many rows a second (two cores, three turns): the
    library's threads share a portion, and then wait until Python has made arrays of its tokens.
    """
    with ThreadPoolExecutor(own_cores()) as pool:
        return list(pool.map(tokenise, portions))


@contextmanager
def without_library_threads() -> Iterator[None]:
    """Let the library use one thread a call. Enter once for a whole text: it changes the process's environment."""
    before = os.environ.get(LIBRARY_THREADS)
    os.environ[LIBRARY_THREADS] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[LIBRARY_THREADS]
        else:
            os.environ[LIBRARY_THREADS] = before


def encode_rows(tokenizer: TextTokenizer, texts: list[str]) -> Encoded:
    """Tokenise rows. Raises InputError where the tokenizer cannot, or gives an id outside of its vocabulary."""
    if len(texts) == 1 and len(texts[0].encode()) > WHOLE_ROW_BYTES:
        return _encode_long(tokenizer, texts[0])
    # 1 the tokens, and an eos after each row that has any
    found = encodings(tokenizer, texts)
    length_R = np.fromiter(map(len, found), np.uint32, len(found))
    length_R += length_R > 0
    with_eos = (_with_eos(encoding.ids, tokenizer.eos_id) for encoding in found)
    ids_n = checked_ids(chain.from_iterable(with_eos), tokenizer.vocab_size, int(length_R.sum()))
    # 2 the rows that could not be read
    ends_R = occurrences(ids_n, tokenizer.eos_id, length_R) - (length_R > 0)
    unknown_R = occurrences(ids_n, tokenizer.unk_id, length_R)
    if tokenizer.unk_id == tokenizer.eos_id:
        unknown_R = ends_R
    unread_R = 2 * unknown_R > length_R.astype(np.int64) - 1
    if tokenizer.unk_id is not None:
        partly = np.flatnonzero((unknown_R > 0) & ~unread_R)
        text_r = [texts[row] for row in partly]
        placed = zip(encodings(tokenizer, text_r, places=True), text_r, strict=True)
        unread_R[partly] = [mostly_unknown(encoding, tokenizer.unk_id, text) for encoding, text in placed]
    if tokenizer.dropped is not None:
        lost = (mostly_dropped(tokenizer.encoder, tokenizer.dropped, text) for text in texts)
        unread_R |= np.fromiter(lost, np.bool_, len(texts))
    return Encoded(ids_n, length_R, unread_R, ends_R > 0)


def _with_eos(ids: list[int], eos_id: int) -> list[int]:
    if ids:
        ids.append(eos_id)
    return ids


def encodings(tokenizer: TextTokenizer, texts: list[str], *, special: bool = False, places: bool = False) -> list[Any]:
    """Encode texts with the library. special: add the special tokens of the tokenizer itself; places: add offsets."""
    encode = tokenizer.encoder.encode_batch if places else tokenizer.encoder.encode_batch_fast
    try:
        found: list[Any] = encode(texts, add_special_tokens=special)
    except Exception as error:  # the library raises bare Exception
        raise InputError(
            f"tokenizer {tokenizer.name!r} cannot read a row ({error}): its vocabulary has no token for unknown "
            "text; take one that has, or train:4096."
        ) from error
    return found


def checked_ids(ids: Any, vocab_size: int, count: int = -1) -> NDArray[np.uint32]:
    """Return the ids as an array. Raises InputError for one outside the vocabulary: a narrow dtype would change it."""
    ids_n = np.fromiter(ids, np.uint32, count)
    worst = int(ids_n.max(initial=0))
    require(
        worst < vocab_size,
        f"the tokenizer gave token id {worst} but has {vocab_size} tokens: check its tokenizer.json.",
    )
    return ids_n


class _Window(NamedTuple):
    """The tokens of a part of a row, and which characters of the row each stands for."""

    ids_n: NDArray[np.uint32]
    place_nx2: NDArray[np.int64]  # first character, and the one after the last


def _encode_long(tokenizer: TextTokenizer, text: str) -> Encoded:
    """Tokenise one row of many megabytes, one overlapping window after the other."""
    open_window, is_unread = _window(tokenizer, text, 0)  # its last tokens are not decided yet
    parts: list[NDArray[np.uint32]] = []
    unread, windows, end = int(is_unread), 1, PIECE_CHARACTERS
    while end < len(text):
        # a run of one character, as long as the overlap, can be cut into other tokens by a window that begins in it
        for share in OVERLAPS:
            overlap = int(share * PIECE_CHARACTERS)
            window, is_unread = _window(tokenizer, text, end - overlap)
            joint = _joint(open_window, window, end - overlap // 2)
            if joint is not None:
                break
        last, first = joint or (_first_from(open_window, end - overlap // 2), _first_from(window, end - overlap // 2))
        parts.append(open_window.ids_n[:last])
        open_window = _Window(window.ids_n[first:], window.place_nx2[first:])
        unread, windows, end = unread + is_unread, windows + 1, end - overlap + PIECE_CHARACTERS
    own_n = np.concatenate([*parts, open_window.ids_n])
    ids_n = np.append(own_n, np.uint32(tokenizer.eos_id)) if len(own_n) else own_n
    is_unread = not len(own_n) or 2 * unread > windows
    return Encoded(
        ids_n, np.array([len(ids_n)], np.uint32), np.array([is_unread]), np.array([tokenizer.eos_id in own_n])
    )


def _window(tokenizer: TextTokenizer, text: str, start: int) -> tuple[_Window, bool]:
    """Tokenise the window that begins at the character `start`; also return whether it could not be read."""
    part = text[start : start + PIECE_CHARACTERS]
    (encoding,) = encodings(tokenizer, [part], places=True)
    ids_n = checked_ids(encoding.ids, tokenizer.vocab_size)
    place_nx2 = np.array(encoding.offsets, np.int64).reshape(-1, 2) + start
    unknown = 0 if tokenizer.unk_id is None else np.count_nonzero(ids_n == tokenizer.unk_id)
    lost = bool(2 * unknown > len(ids_n))
    if tokenizer.unk_id is not None and unknown:
        lost |= mostly_unknown(encoding, tokenizer.unk_id, part)
    if tokenizer.dropped is not None:
        lost |= mostly_dropped(tokenizer.encoder, tokenizer.dropped, part)
    return _Window(ids_n, place_nx2), lost


def _first_from(window: _Window, place: int) -> int:
    """Index of the first token that begins at the character `place` of the row, or after it."""
    return int(np.searchsorted(window.place_nx2[:, 0], place))


def _joint(left: _Window, right: _Window, middle: int) -> tuple[int, int] | None:
    """Find where both windows have the same tokens at the same places, from the middle of the overlap on.

    Returns (number of tokens to keep of the left window, number to leave out of the right one), or None.
    """
    for i, j in _candidates(left, right, _first_from(right, middle)):
        low = min(AGREEING, i, j)
        one, other = slice(i - low, i + AGREEING), slice(j - low, j + AGREEING)
        same_ids = np.array_equal(left.ids_n[one], right.ids_n[other])
        if same_ids and np.array_equal(left.place_nx2[one], right.place_nx2[other]):
            return i, j
    return None


def _candidates(left: _Window, right: _Window, first: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of tokens of the two windows that begin at the same character, from the right one's `first` on."""
    for j in range(first, len(right.ids_n)):
        place = right.place_nx2[j, 0]
        low, high = (int(np.searchsorted(left.place_nx2[:, 0], place, side=side)) for side in ("left", "right"))
        if low == len(left.ids_n):
            return
        yield from ((i, j) for i in range(low, high))
