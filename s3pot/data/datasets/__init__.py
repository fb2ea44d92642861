"""Other people's data sets: how their files lie, and how they become ours and ours become theirs.

An adapter (``item``) lists the images of one layout and reads what is known of each; a writer
(``writers``) puts the same into another layout. ``formats`` has them all by name.
"""
