"""Scores against truth and trivial baselines."""
