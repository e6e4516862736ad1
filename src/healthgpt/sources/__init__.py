"""Published data sets read in their original layout: one file a data set, each yielding samples."""
