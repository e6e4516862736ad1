"""From recipe to model folder: the engine that trains the stages of the paper, and what is seen of it."""
