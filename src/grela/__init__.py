"""Next-item recommendation for users with long histories, by RecGRELA (arXiv 2506.13315)."""

__version__ = "0.1.0"
