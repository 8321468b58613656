"""The service: a log of live events, users' states that follow it, and recommendations over HTTP (extra `serve`)."""
