"""State of a session: conversation, corrections, comparison and video, with the functions that change them."""
