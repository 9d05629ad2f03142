"""Videos: detect, link and measure particles, find events, and answer questions."""
