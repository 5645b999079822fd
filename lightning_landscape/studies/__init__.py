"""Studies: sets of (point, seed), trained or evaluated in batches."""
