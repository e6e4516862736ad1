"""What a run will cost, told from its recipe alone: parameters, memory, operations, days."""
