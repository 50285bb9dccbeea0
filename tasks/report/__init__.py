"""Reports as HTML pages that need no network: the page itself, and what is put into it."""
