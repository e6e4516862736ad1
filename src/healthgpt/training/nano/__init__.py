"""nano from nothing: simulated data, pre-trained parts, three stages, one model folder."""
