"""PS, prompt selection: greedy matching, then face and occlusion points."""
