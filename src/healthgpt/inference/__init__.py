"""Requests to answers and images."""
