"""The VQGAN codec: image to codes and back."""
