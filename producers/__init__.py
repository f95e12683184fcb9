"""Where events come from besides the gateway: load generator, replay, recorder, trace importers."""
