"""The napari plugin: a reader and a writer of results, samples, and a dock widget that talks about a micrograph.

Its manifest is ``napari.yaml``. Only :mod:`lisa_micro.napari.dock` imports napari and Qt.
"""
