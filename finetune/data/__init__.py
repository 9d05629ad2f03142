"""Training data of the stages: images, crops, conversations, clips."""
