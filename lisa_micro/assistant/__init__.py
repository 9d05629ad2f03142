"""Talking: replies parsed and executed, conversations, the model at work."""

from lisa_micro.assistant.assistant import Assistant, Conversation, load_assistant

__all__ = ["Assistant", "Conversation", "load_assistant"]
