"""Train and measure the segmenters of the seed paper side by side: ``lisa-micro benchmark segmenters``.

All models see the same tiles of the same images, each at its own resolution, and are evaluated on the same held-out
images, next to the threshold recipe that may have produced the labels and to LISA-micro asked in words.
"""
