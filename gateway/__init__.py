"""The OpenAI-compatible proxy that meters every call."""
