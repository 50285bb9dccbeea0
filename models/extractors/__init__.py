"""The default extractors, one module each, and what they share."""
