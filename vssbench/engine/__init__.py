"""What the runner and training share: building methods, feeding them frames, evaluating their answers."""
