"""An examiner of meldflow: every clip of a folder once more, without meldflow, and what differs.

``make truth`` or ``python -m tests.truth FOLDER`` tells whether it is right on clips of one's own.
"""
