"""Long rows in pieces: a whole book in one row is text like any other, but a tokenizer would take gigabytes for it."""

from collections.abc import Iterable, Iterator


def pieces(text: str, limit: int) -> Iterator[str]:
    """The text in order, in parts of at most `limit` characters, each of which begins before a space where it can.

    So no word is cut, but for one that is longer than half of `limit`.
    """
    first = 0
    while len(text) - first > limit:
        space = text.rfind(" ", first + limit // 2, first + limit)
        last = space if space > first else first + limit
        yield text[first:last]
        first = last
    yield text[first:]


def pieces_of(texts: Iterable[str], limit: int, characters: int) -> Iterator[str]:
    """Pieces of the texts, until there are `characters` of them."""
    left = characters
    for text in texts:
        for piece in pieces(text, limit):
            if left <= 0:
                return
            yield piece[:left]
            left -= len(piece)
