"""Pre-training of the parts and the paper's three stages."""
