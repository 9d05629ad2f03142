"""Stage ``concepts``: the SAM tower, the mask decoder and the exemplar encoder on seventeen concepts."""
