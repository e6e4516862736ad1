"""VL-Phantom: procedural medical images from stated physics, with known truth, questions and reports."""
