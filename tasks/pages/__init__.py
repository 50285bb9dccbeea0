"""What pages and screens share: blocks, figures, themes, words, progress."""
