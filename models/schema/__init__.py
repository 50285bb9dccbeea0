"""The records that cross package borders: plain values without I/O.

``storage`` may import this room of ``models`` and no other, so nothing heavy is imported here.
"""
