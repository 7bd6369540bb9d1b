"""One file for each promise of the design: what it says, as claims that can fail."""
