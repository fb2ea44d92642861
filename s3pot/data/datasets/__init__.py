"""Other data sets: reading their layouts, and converting them to ours and back.

An adapter (``item``) lists the images of one layout and reads the labels of each; a writer
(``writers``) writes them in another layout. ``formats`` lists all of them by name.
"""
