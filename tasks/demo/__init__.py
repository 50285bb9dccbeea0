"""A demo data set in MELD's shape: invented lines, drawn faces and synthetic voices."""
