"""Images to visual tokens: preprocessing, CLIP tower with early exit, grains, adapters."""
