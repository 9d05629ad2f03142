"""One file a kind of material scene: its geometry and how it is painted."""
