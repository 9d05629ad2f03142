"""The pages of the app, built with Gradio."""
