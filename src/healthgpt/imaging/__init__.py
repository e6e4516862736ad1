"""Files to pixels and back, geometry kept."""
