"""Commands for one's own video: what to run on it, and what a method sees in it."""
