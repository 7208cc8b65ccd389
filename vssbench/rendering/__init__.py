"""Results in, text and figures out. Reads the run folder only and never imports torch."""
