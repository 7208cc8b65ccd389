"""Tables of a run for terminal, page, Markdown, LaTeX and CSV."""
