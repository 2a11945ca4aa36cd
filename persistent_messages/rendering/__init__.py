"""Messages as HTML: rows and notices, their actions and icons, texts, dates."""
