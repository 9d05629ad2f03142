"""Requests about micrographs in words, by boxes and by points: inference engine, conversations, the tiling rule."""

from lisa_micro.assistant.assistant import Assistant
from lisa_micro.assistant.conversation import Conversation

__all__ = ["Assistant", "Conversation"]
