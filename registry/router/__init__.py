"""Chooses who answers a request. Needs numpy and safetensors at decision time, no torch."""

from registry.router.decide import Context, Decision, Router

__all__ = ["Context", "Decision", "Router"]
