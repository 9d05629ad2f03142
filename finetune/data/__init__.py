"""What the stages learn from: images, crops, conversations, clips."""
