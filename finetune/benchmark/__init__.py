"""The segmenters of the paper this project comes from, trained and measured alike: ``lisa-micro benchmark segmenters``.

All see the same tiles of the same images, each at its own resolution; all are judged on the same held-out images,
beside the recipe that may have made the labels and beside LISA-micro asked in words.
"""
