"""How things are said to a person: words, tables, progress."""
