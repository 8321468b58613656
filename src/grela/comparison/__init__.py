"""Side by side: models trained alike on one split, measured alike, and compared on the same users."""
