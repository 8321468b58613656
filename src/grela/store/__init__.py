"""The log of live events and the cache of users' states. The log is the truth; a state is a cache."""
