"""Measurements of the pipeline, each a command; nothing here is imported by it or is a test."""
