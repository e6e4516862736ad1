"""Batch to logits: the fusion layer and the whole model."""
