"""The networks that are trained: context fusion and the published one, and their saved form."""
