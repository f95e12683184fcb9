"""The peers: who they are is in `roster`. Nothing is imported here, as some run without our packages."""
