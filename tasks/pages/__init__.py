"""What all pages share: blocks, figures, themes."""
