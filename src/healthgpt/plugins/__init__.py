"""LoRA, MoELoRA and H-LoRA behind one interface, and which plugin each row uses."""
