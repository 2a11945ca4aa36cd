"""Operations on text: converting to plain text, folding for search, truncating."""
