"""EfficientSAM (Xiong et al., arXiv 2312.00863): networks, promptable segmenter, semantic segmenter."""
