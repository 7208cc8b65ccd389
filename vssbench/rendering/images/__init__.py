"""Pictures: colours of labels and motion, contact sheets."""
