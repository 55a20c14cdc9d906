"""Serves one generation on this machine: every specialist, and LiteLLM's proxy with our router before them."""
