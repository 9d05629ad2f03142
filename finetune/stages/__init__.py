"""Stages of training: vision, clip, language, tracking."""
