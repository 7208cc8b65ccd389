"""Result records on disk and comparisons of them."""
