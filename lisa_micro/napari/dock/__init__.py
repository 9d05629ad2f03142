"""The dock widget. Its modules need napari, which imports them when the widget is opened."""
