"""What pages and screens share: tables, figures, themes, words, progress."""
