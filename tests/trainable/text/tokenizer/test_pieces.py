"""Long rows are cut into pieces to train a tokenizer: the pieces have all of the text, and no short word is cut."""

from hypothesis import given
from hypothesis import strategies as st

from trainable.text.tokenizer.tokenizer import pieces, pieces_of

words = st.text(alphabet="ab \n", max_size=60)


@given(words, st.integers(2, 20))
def test_joined_pieces_are_the_text_and_no_piece_is_longer_than_the_limit(text: str, limit: int) -> None:
    found = list(pieces(text, limit))
    assert "".join(found) == text
    assert max(map(len, found)) <= limit


@given(st.lists(st.text(alphabet="ab", min_size=1, max_size=5), min_size=1, max_size=30))
def test_no_word_shorter_than_half_a_piece_is_cut(row: list[str]) -> None:
    assert " ".join(row).split() == [word for piece in pieces(" ".join(row), 12) for word in piece.split()]


@given(st.lists(words, max_size=9), st.integers(0, 200))
def test_pieces_of_texts_end_at_the_wanted_number_of_characters(texts: list[str], characters: int) -> None:
    assert "".join(pieces_of(texts, 7, characters)) == "".join(texts)[:characters]
